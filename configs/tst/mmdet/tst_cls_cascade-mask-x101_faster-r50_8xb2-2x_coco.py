"""TST with KD on COCO: Cascade Mask R-CNN-X101-64x4d -> Faster R-CNN-R50.

Table 3 of the paper ("Ours (KD)"): AP 40.5, against 38.4 of the student alone
and 39.7 of KD.

The reference code's run was in half precision: ``tools/train.py --amp``.
"""

_base_ = [
    '../../_base_/pairs/coco_faster_rcnn.py',
    '../../_base_/methods/tst_coco.py',
]

model = dict(
    type='mmtst.TSTDistill',
    distiller={{_base_.kd_distiller}},
    augmentation={{_base_.augmentation}},
    objective={{_base_.objective}},
)
