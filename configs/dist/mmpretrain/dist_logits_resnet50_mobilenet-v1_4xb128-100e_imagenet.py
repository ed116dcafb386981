"""DIST on ImageNet: ResNet-50 -> MobileNetV1."""

_base_ = '../../_base_/pairs/imagenet/resnet50_mobilenet-v1.py'

model = dict(distiller={{_base_.dist_distiller}})
