"""ReviewKD on CIFAR-100: VGG-13 -> MobileNetV2."""

_base_ = '../../_base_/pairs/cifar/vgg13_mobilenet-v2.py'

model = dict(
    # Maps are compared as they are before their activation.
    teacher=dict(backbone=dict(preact=True)),
    distiller={{_base_.reviewkd_distiller}},
)
