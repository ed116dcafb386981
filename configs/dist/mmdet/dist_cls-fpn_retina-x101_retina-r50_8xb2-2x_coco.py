"""DIST and mimic on COCO: RetinaNet-X101-64x4d -> RetinaNet-R50."""

_base_ = '../../_base_/pairs/coco_retinanet.py'

model = dict(distiller={{_base_.dist_mimic_distiller}})
