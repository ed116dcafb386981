"""ReviewKD on CIFAR-100: ResNet-110 -> ResNet-20."""

_base_ = '../../_base_/pairs/cifar/resnet110_resnet20.py'

model = dict(
    # Maps are compared as they are before their activation.
    architecture=dict(backbone=dict(preact=True)),
    teacher=dict(backbone=dict(preact=True)),
    distiller={{_base_.reviewkd_distiller}},
)
