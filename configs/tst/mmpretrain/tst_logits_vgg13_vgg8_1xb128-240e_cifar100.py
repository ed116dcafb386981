"""TST on CIFAR-100: VGG-13 -> VGG-8.

Table 1 of the paper: top-1 75.03, KD 72.98; 70.36 of the student alone, and
the teacher has 74.64.
"""

_base_ = [
    '../../_base_/pairs/cifar/vgg13_vgg8.py',
    '../../_base_/methods/tst_cifar.py',
]

model = dict(
    type='mmtst.TSTDistill',
    distiller={{_base_.kd_distiller}},
    augmentation={{_base_.augmentation}},
    objective={{_base_.objective}},
)
