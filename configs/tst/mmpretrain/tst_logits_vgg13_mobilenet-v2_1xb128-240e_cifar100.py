"""TST on CIFAR-100: VGG-13 -> MobileNetV2.

Table 1 of the paper: top-1 70.82, KD 67.37; 64.60 of the student alone, and
the teacher has 74.64.
"""

_base_ = [
    '../../_base_/pairs/cifar/vgg13_mobilenet-v2.py',
    '../../_base_/methods/tst_cifar.py',
]

model = dict(
    type='mmtst.TSTDistill',
    distiller={{_base_.kd_distiller}},
    augmentation={{_base_.augmentation}},
    objective={{_base_.objective}},
)
