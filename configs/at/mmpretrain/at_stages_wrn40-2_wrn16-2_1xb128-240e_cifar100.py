"""AT on CIFAR-100: WRN-40-2 -> WRN-16-2."""

_base_ = '../../_base_/pairs/cifar/wrn40-2_wrn16-2.py'

model = dict(distiller={{_base_.at_distiller}})
