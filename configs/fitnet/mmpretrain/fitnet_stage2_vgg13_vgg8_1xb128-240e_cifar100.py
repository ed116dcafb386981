"""FitNet on CIFAR-100: VGG-13 -> VGG-8."""

_base_ = '../../_base_/pairs/cifar/vgg13_vgg8.py'

model = dict(distiller={{_base_.fitnet_distiller}})
