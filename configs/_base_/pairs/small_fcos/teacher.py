"""The teacher of the small FCOS pair, alone."""

_base_ = './options.py'

model = dict(
    type='mmtst.model_from_config',
    cfg_path='mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
    cfg_options={{_base_.teacher_options}},
)
