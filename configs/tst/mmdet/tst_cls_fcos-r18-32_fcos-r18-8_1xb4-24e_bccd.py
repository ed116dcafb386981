"""TST with KD on BCCD: the small FCOSs."""

_base_ = [
    '../../_base_/pairs/small_fcos/bccd.py',
    '../../_base_/methods/tst_bccd.py',
]

model = dict(
    type='mmtst.TSTDistill',
    distiller={{_base_.kd_distiller}},
)
