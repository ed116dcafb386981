"""The teacher of the small Faster R-CNN pair, alone."""

_base_ = './options.py'

model = dict(
    type='mmtst.model_from_config',
    cfg_path='mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    cfg_options={{_base_.teacher_options}},
)
