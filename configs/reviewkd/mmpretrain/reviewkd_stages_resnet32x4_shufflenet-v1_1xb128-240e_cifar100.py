"""ReviewKD on CIFAR-100: ResNet-32x4 -> ShuffleNetV1."""

_base_ = '../../_base_/pairs/cifar/resnet32x4_shufflenet-v1.py'

model = dict(
    # Of the maps that are compared, the teacher's alone are before their ReLU.
    teacher=dict(backbone=dict(preact=True)),
    distiller={{_base_.reviewkd_distiller}},
)
