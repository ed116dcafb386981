"""DIST and mimic on BCCD: the small FCOSs."""

_base_ = '../../_base_/pairs/small_fcos/bccd.py'

model = dict(distiller={{_base_.dist_mimic_distiller}})
