"""TST with KD and mimic on BCCD: the small RetinaNets."""

_base_ = [
    '../../_base_/pairs/small_retinanet/bccd.py',
    '../../_base_/methods/tst_bccd.py',
]

model = dict(
    type='mmtst.TSTDistill',
    distiller={{_base_.kd_mimic_distiller}},
)
