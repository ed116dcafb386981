"""TST on CIFAR-100: ResNet-32x4 -> ShuffleNetV1.

Table 1 of the paper: top-1 76.71, KD 74.07; 70.50 of the student alone, and
the teacher has 79.42.
"""

_base_ = [
    '../../_base_/pairs/cifar/resnet32x4_shufflenet-v1.py',
    '../../_base_/methods/tst_cifar.py',
]

model = dict(
    type='mmtst.TSTDistill',
    distiller={{_base_.kd_distiller}},
    augmentation={{_base_.augmentation}},
    objective={{_base_.objective}},
)
