"""ReviewKD on CIFAR-100: VGG-13 -> MobileNetV2."""

_base_ = '../../_base_/pairs/cifar/vgg13_mobilenet-v2.py'

model = dict(
    # Of the maps that are compared, the teacher's alone are before their ReLU.
    teacher=dict(backbone=dict(preact=True)),
    distiller={{_base_.reviewkd_distiller}},
)
