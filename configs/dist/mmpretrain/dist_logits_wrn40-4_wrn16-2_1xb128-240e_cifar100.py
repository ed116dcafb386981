"""DIST on CIFAR-100: WRN-40-4 -> WRN-16-2."""

_base_ = '../../_base_/pairs/cifar/wrn40-4_wrn16-2.py'

model = dict(distiller={{_base_.dist_distiller}})
