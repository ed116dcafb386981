"""TST on CIFAR-100: ResNet-56 -> ResNet-20."""

_base_ = [
    '../../_base_/pairs/cifar/resnet56_resnet20.py',
    '../../_base_/methods/tst_cifar.py',
]

model = dict(
    type='mmtst.TSTDistill',
    distiller={{_base_.kd_distiller}},
    augmentation={{_base_.augmentation}},
    objective={{_base_.objective}},
)
