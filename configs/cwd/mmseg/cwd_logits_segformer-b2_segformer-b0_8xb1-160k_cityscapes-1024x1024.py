"""CWD on Cityscapes: SegFormer-B2 -> SegFormer-B0."""

_base_ = '../../_base_/pairs/cityscapes_segformer.py'

model = dict(distiller={{_base_.cwd_distiller}})
