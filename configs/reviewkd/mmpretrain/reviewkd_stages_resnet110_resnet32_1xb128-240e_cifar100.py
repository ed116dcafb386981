"""ReviewKD on CIFAR-100: ResNet-110 -> ResNet-32."""

_base_ = '../../_base_/pairs/cifar/resnet110_resnet32.py'

model = dict(
    # Of the maps that are compared, the teacher's alone are before their ReLU.
    teacher=dict(backbone=dict(preact=True)),
    distiller={{_base_.reviewkd_distiller}},
)
