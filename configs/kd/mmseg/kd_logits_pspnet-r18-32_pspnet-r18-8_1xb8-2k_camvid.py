"""KD on CamVid: the small PSPNets."""

_base_ = '../../_base_/pairs/small_pspnet/camvid.py'

model = dict(distiller={{_base_.kd_distiller}})
