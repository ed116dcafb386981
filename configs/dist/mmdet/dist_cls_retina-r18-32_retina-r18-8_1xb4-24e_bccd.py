"""DIST on BCCD: the small RetinaNets."""

_base_ = '../../_base_/pairs/small_retinanet/bccd.py'

model = dict(distiller={{_base_.dist_distiller}})
