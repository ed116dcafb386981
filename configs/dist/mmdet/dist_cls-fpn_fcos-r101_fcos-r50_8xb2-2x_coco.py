"""DIST and mimic on COCO: FCOS-R101 -> FCOS-R50."""

_base_ = '../../_base_/pairs/coco_fcos.py'

model = dict(distiller={{_base_.dist_mimic_distiller}})
