"""TST with KD on Cityscapes: SegFormer-B2 -> PSPNet-R18."""

_base_ = [
    '../../_base_/pairs/cityscapes_segformer_pspnet.py',
    '../../_base_/methods/tst_cityscapes.py',
]

model = dict(
    type='mmtst.TSTDistill',
    distiller={{_base_.kd_decode_distiller}},
    augmentation={{_base_.augmentation}},
    objective={{_base_.objective}},
)
