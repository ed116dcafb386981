"""Faster R-CNN-R50 alone on COCO, as it is trained as a student."""

_base_ = '../_base_/schedules/coco_2x.py'

model = dict(
    type='mmtst.model_from_config',
    cfg_path='mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
)
optim_wrapper = dict(optimizer=dict(lr=0.02))
