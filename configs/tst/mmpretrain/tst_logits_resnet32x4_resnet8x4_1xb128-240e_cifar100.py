"""TST on CIFAR-100: ResNet-32x4 -> ResNet-8x4.

Table 1 of the paper: top-1 76.72, KD 73.33; 72.50 of the student alone, and
the teacher has 79.42.
"""

_base_ = [
    '../../_base_/pairs/cifar/resnet32x4_resnet8x4.py',
    '../../_base_/methods/tst_cifar.py',
]

model = dict(
    type='mmtst.TSTDistill',
    distiller={{_base_.kd_distiller}},
    augmentation={{_base_.augmentation}},
    objective={{_base_.objective}},
)
