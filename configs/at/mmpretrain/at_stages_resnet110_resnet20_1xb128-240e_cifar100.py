"""AT on CIFAR-100: ResNet-110 -> ResNet-20."""

_base_ = '../../_base_/pairs/cifar/resnet110_resnet20.py'

model = dict(distiller={{_base_.at_distiller}})
