"""DIST and mimic on BCCD: the small RetinaNets."""

_base_ = '../../_base_/pairs/small_retinanet/bccd.py'

model = dict(distiller={{_base_.dist_mimic_distiller}})
