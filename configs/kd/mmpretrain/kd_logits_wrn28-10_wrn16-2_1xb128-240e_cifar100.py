"""KD on CIFAR-100: WRN-28-10 -> WRN-16-2."""

_base_ = '../../_base_/pairs/cifar/wrn28-10_wrn16-2.py'

model = dict(distiller={{_base_.kd_distiller}})
