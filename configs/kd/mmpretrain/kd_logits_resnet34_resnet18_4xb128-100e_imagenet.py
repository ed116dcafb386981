"""KD on ImageNet: ResNet-34 -> ResNet-18."""

_base_ = '../../_base_/pairs/imagenet/resnet34_resnet18.py'

model = dict(distiller={{_base_.kd_distiller}})
