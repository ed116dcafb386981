"""KD on a tenth of the digits."""

_base_ = '../../_base_/pairs/small_digits.py'

model = dict(distiller={{_base_.kd_distiller}})
