"""TST with KD on COCO: FCOS-R101 -> FCOS-R50.

Table 3 of the paper ("Ours (KD)"): AP 40.1, against 38.5 of the student alone
and 39.9 of KD.

Classes are distilled, as the paper says. The reference code distils centerness
too: ``model = dict(distiller={{_base_.centerness_kl}})`` in a config based on
this one adds it. Its run was in half precision: ``tools/train.py --amp``.
"""

_base_ = [
    '../../_base_/pairs/coco_fcos.py',
    '../../_base_/methods/tst_coco.py',
]

model = dict(
    type='mmtst.TSTDistill',
    distiller={{_base_.kd_distiller}},
    augmentation={{_base_.augmentation}},
    objective={{_base_.objective}},
)
