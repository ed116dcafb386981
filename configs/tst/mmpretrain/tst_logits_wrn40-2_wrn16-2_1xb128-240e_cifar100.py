"""TST on CIFAR-100: WRN-40-2 -> WRN-16-2.

Table 1 of the paper: top-1 76.75, KD 74.92; 73.26 of the student alone, and
the teacher has 75.61.
"""

_base_ = [
    '../../_base_/pairs/cifar/wrn40-2_wrn16-2.py',
    '../../_base_/methods/tst_cifar.py',
]

model = dict(
    type='mmtst.TSTDistill',
    distiller={{_base_.kd_distiller}},
    augmentation={{_base_.augmentation}},
    objective={{_base_.objective}},
)
