"""DIST and mimic on BCCD: the small Faster R-CNNs."""

_base_ = '../../_base_/pairs/small_faster_rcnn/bccd.py'

model = dict(distiller={{_base_.dist_mimic_distiller}})
