"""TST on CIFAR-100: WRN-40-2 -> WRN-40-1.

Table 1 of the paper: top-1 75.32, KD 73.54; 71.98 of the student alone, and
the teacher has 75.61.
"""

_base_ = [
    '../../_base_/pairs/cifar/wrn40-2_wrn40-1.py',
    '../../_base_/methods/tst_cifar.py',
]

model = dict(
    type='mmtst.TSTDistill',
    distiller={{_base_.kd_distiller}},
    augmentation={{_base_.augmentation}},
    objective={{_base_.objective}},
)
