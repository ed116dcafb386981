"""TST with KD on Cityscapes: PSPNet-R101 -> PSPNet-R18.

Table 4 of the paper: mIoU 76.55, against 70.09 of the student alone; the
teacher has 78.55.
"""

_base_ = [
    '../../_base_/pairs/cityscapes_pspnet.py',
    '../../_base_/methods/tst_cityscapes.py',
]

model = dict(
    type='mmtst.TSTDistill',
    distiller={{_base_.kd_distiller}},
    augmentation={{_base_.augmentation}},
    objective={{_base_.objective}},
)
