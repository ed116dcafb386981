"""ReviewKD on CIFAR-100: WRN-40-2 -> WRN-16-2."""

_base_ = '../../_base_/pairs/cifar/wrn40-2_wrn16-2.py'

model = dict(
    # Of the maps that are compared, the teacher's alone are before their ReLU.
    teacher=dict(backbone=dict(preact=True)),
    distiller={{_base_.reviewkd_distiller}},
)
