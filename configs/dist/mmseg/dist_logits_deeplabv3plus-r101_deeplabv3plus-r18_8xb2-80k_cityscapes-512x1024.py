"""DIST on Cityscapes: DeepLabV3+-R101 -> R18."""

_base_ = '../../_base_/pairs/cityscapes_deeplabv3plus.py'

model = dict(distiller={{_base_.dist_distiller}})
