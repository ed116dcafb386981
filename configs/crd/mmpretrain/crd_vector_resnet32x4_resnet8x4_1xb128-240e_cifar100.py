"""CRD on CIFAR-100: ResNet-32x4 -> ResNet-8x4."""

_base_ = '../../_base_/pairs/cifar/resnet32x4_resnet8x4.py'

model = dict(distiller={{_base_.crd_distiller}})
