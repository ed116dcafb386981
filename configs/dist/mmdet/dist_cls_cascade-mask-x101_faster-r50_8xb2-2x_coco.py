"""DIST on COCO: Cascade Mask R-CNN-X101-64x4d -> Faster R-CNN-R50."""

_base_ = '../../_base_/pairs/coco_faster_rcnn.py'

model = dict(distiller={{_base_.dist_distiller}})
