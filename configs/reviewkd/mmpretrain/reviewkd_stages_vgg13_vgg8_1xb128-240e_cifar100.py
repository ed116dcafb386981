"""ReviewKD on CIFAR-100: VGG-13 -> VGG-8."""

_base_ = '../../_base_/pairs/cifar/vgg13_vgg8.py'

model = dict(
    # Of the maps that are compared, the teacher's alone are before their ReLU.
    teacher=dict(backbone=dict(preact=True)),
    distiller={{_base_.reviewkd_distiller}},
)
