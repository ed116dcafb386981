"""CRD on CIFAR-100: ResNet-56 -> ResNet-20."""

_base_ = '../../_base_/pairs/cifar/resnet56_resnet20.py'

model = dict(distiller={{_base_.crd_distiller}})
