"""TST with KD and mimic on BCCD: the small Faster R-CNNs."""

_base_ = [
    '../../_base_/pairs/small_faster_rcnn/bccd.py',
    '../../_base_/methods/tst_bccd.py',
]

model = dict(
    type='mmtst.TSTDistill',
    distiller={{_base_.kd_mimic_distiller}},
)
