"""ReviewKD on CIFAR-100: WRN-40-2 -> WRN-16-2."""

_base_ = '../../_base_/pairs/cifar/wrn40-2_wrn16-2.py'

model = dict(
    # Maps are compared as they are before their activation.
    architecture=dict(backbone=dict(preact=True)),
    teacher=dict(backbone=dict(preact=True)),
    distiller={{_base_.reviewkd_distiller}},
)
