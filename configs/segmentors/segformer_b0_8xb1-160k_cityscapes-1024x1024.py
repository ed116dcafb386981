"""SegFormer-B0 alone on Cityscapes, as it is trained as a student."""

_base_ = '../_base_/schedules/cityscapes_160k_adamw.py'

model = dict(
    type='mmtst.model_from_config',
    cfg_path='mmseg::segformer/'
    'segformer_mit-b0_8xb1-160k_cityscapes-1024x1024.py',
)
