"""TST on CIFAR-100: WRN-40-4 -> WRN-16-2."""

_base_ = [
    '../../_base_/pairs/cifar/wrn40-4_wrn16-2.py',
    '../../_base_/methods/tst_cifar.py',
]

model = dict(
    type='mmtst.TSTDistill',
    distiller={{_base_.kd_distiller}},
    augmentation={{_base_.augmentation}},
    objective={{_base_.objective}},
)
