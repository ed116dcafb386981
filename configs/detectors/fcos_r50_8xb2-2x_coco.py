"""FCOS-R50 alone on COCO, as it is trained as a student."""

_base_ = '../_base_/schedules/coco_2x_fcos.py'

model = dict(
    type='mmtst.model_from_config',
    cfg_path='mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
    cfg_options={{_base_.fcos_r50_options}},
)
