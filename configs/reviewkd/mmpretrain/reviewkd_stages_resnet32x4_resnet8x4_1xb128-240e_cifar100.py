"""ReviewKD on CIFAR-100: ResNet-32x4 -> ResNet-8x4."""

_base_ = '../../_base_/pairs/cifar/resnet32x4_resnet8x4.py'

model = dict(
    # Maps are compared as they are before their activation.
    architecture=dict(backbone=dict(preact=True)),
    teacher=dict(backbone=dict(preact=True)),
    distiller={{_base_.reviewkd_distiller}},
)
