"""CRD on CIFAR-100: ResNet-32x4 -> ShuffleNetV1."""

_base_ = '../../_base_/pairs/cifar/resnet32x4_shufflenet-v1.py'

model = dict(distiller={{_base_.crd_distiller}})
