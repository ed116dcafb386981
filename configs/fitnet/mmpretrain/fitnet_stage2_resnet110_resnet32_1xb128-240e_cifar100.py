"""FitNet on CIFAR-100: ResNet-110 -> ResNet-32."""

_base_ = '../../_base_/pairs/cifar/resnet110_resnet32.py'

model = dict(distiller={{_base_.fitnet_distiller}})
