"""TST with KD on CamVid: the small PSPNets."""

_base_ = [
    '../../_base_/pairs/small_pspnet/camvid.py',
    '../../_base_/methods/tst_camvid.py',
]

model = dict(
    type='mmtst.TSTDistill',
    distiller={{_base_.kd_distiller}},
)
