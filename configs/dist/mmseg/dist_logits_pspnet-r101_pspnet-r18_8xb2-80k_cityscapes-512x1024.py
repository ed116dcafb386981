"""DIST on Cityscapes: PSPNet-R101 -> PSPNet-R18."""

_base_ = '../../_base_/pairs/cityscapes_pspnet.py'

model = dict(distiller={{_base_.dist_distiller}})
