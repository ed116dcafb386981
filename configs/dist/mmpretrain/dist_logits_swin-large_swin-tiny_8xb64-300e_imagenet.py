"""DIST on ImageNet: Swin-L -> Swin-T."""

_base_ = '../../_base_/pairs/imagenet/swin-large_swin-tiny.py'

model = dict(distiller={{_base_.dist_distiller}})
