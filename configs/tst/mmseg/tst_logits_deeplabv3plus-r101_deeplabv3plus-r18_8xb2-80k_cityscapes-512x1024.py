"""TST with KD on Cityscapes: DeepLabV3+-R101 -> R18."""

_base_ = [
    '../../_base_/pairs/cityscapes_deeplabv3plus.py',
    '../../_base_/methods/tst_cityscapes.py',
]

model = dict(
    type='mmtst.TSTDistill',
    distiller={{_base_.kd_distiller}},
    augmentation={{_base_.augmentation}},
    objective={{_base_.objective}},
)
