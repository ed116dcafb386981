"""TST as its reference code has it: ResNet-110 -> ResNet-32, CIFAR-100."""

_base_ = [
    '../../_base_/pairs/cifar/resnet110_resnet32.py',
    '../../_base_/methods/tst_cifar_official.py',
]

model = dict(
    type='mmtst.TSTDistill',
    distiller={{_base_.kd_half_distiller}},
    augmentation={{_base_.augmentation}},
    objective={{_base_.objective}},
)
optim_wrapper = dict(optimizer=dict(weight_decay=0.0001, nesterov=True))
