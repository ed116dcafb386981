"""DIST on Cityscapes: SegFormer-B2 -> PSPNet-R18."""

_base_ = '../../_base_/pairs/cityscapes_segformer_pspnet.py'

model = dict(distiller={{_base_.dist_decode_distiller}})
