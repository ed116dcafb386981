"""The student of the small PSPNet pair, alone."""

_base_ = './options.py'

model = dict(
    type='mmtst.model_from_config',
    cfg_path='mmseg::pspnet/pspnet_r50-d8_4xb2-80k_cityscapes-512x1024.py',
    cfg_options={{_base_.student_options}},
)
