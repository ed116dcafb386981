"""CRD on CIFAR-100: VGG-13 -> MobileNetV2."""

_base_ = '../../_base_/pairs/cifar/vgg13_mobilenet-v2.py'

model = dict(distiller={{_base_.crd_distiller}})
