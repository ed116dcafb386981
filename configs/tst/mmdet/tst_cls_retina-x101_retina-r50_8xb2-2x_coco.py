"""TST with KD on COCO: RetinaNet-X101-64x4d -> RetinaNet-R50.

Table 3 of the paper ("Ours (KD)"): AP 39.9, against 37.4 of the student alone
and 37.2 of KD.
"""

_base_ = [
    '../../_base_/pairs/coco_retinanet.py',
    '../../_base_/methods/tst_coco.py',
]

model = dict(
    type='mmtst.TSTDistill',
    distiller={{_base_.kd_distiller}},
    augmentation={{_base_.augmentation}},
    objective={{_base_.objective}},
)
