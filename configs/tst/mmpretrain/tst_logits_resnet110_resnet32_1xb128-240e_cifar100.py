"""TST on CIFAR-100: ResNet-110 -> ResNet-32.

Table 1 of the paper: top-1 75.04, KD 73.08; 71.14 of the student alone, and
the teacher has 74.31.
"""

_base_ = [
    '../../_base_/pairs/cifar/resnet110_resnet32.py',
    '../../_base_/methods/tst_cifar.py',
]

model = dict(
    type='mmtst.TSTDistill',
    distiller={{_base_.kd_distiller}},
    augmentation={{_base_.augmentation}},
    objective={{_base_.objective}},
)
