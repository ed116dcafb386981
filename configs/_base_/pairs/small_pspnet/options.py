"""A PSPNet pair that learns small pictures from scratch, on a CPU too.

The dictionaries are overrides of mmseg's PSPNet-R50, for a segmentor alone and
for ``cfg_options`` alike; the class count is the data's business. mmseg's
configs expect a pretrained backbone and several GPUs: here nothing is
pretrained, and statistics are those of one process. Scores lie at 1/16 of the
image, which costs a quarter of 1/8; pictures are padded to multiples of that.
"""

norm_cfg = dict(type='BN', requires_grad=True)
scratch_backbone = dict(
    depth=18,
    strides=(1, 2, 2, 1),
    dilations=(1, 1, 1, 2),
    norm_cfg=norm_cfg,
)
padded = dict(size=None, size_divisor=16)
teacher_options = dict(
    pretrained=None,
    data_preprocessor=padded,
    backbone=dict(base_channels=32, stem_channels=32, **scratch_backbone),
    decode_head=dict(in_channels=256, channels=64, norm_cfg=norm_cfg),
    auxiliary_head=dict(in_channels=128, channels=64, norm_cfg=norm_cfg),
)
student_options = dict(
    pretrained=None,
    data_preprocessor=padded,
    backbone=dict(base_channels=8, stem_channels=8, **scratch_backbone),
    decode_head=dict(in_channels=64, channels=32, norm_cfg=norm_cfg),
    auxiliary_head=dict(in_channels=32, channels=32, norm_cfg=norm_cfg),
)
