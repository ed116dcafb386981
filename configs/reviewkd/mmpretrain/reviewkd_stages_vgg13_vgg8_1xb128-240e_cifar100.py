"""ReviewKD on CIFAR-100: VGG-13 -> VGG-8."""

_base_ = '../../_base_/pairs/cifar/vgg13_vgg8.py'

model = dict(
    # Maps are compared as they are before their activation.
    architecture=dict(backbone=dict(preact=True)),
    teacher=dict(backbone=dict(preact=True)),
    distiller={{_base_.reviewkd_distiller}},
)
