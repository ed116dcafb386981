"""PSPNet-R18 alone on Cityscapes, as it is trained as a student."""

_base_ = '../_base_/schedules/cityscapes_80k.py'

model = dict(
    type='mmtst.model_from_config',
    cfg_path='mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py',
)
