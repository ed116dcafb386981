"""Backbones and necks of the small pairs, which learn from scratch.

mmdet's configs expect a pretrained backbone: first stage and statistics
frozen. From scratch that would freeze a random stem, so all of it is switched
off, and the neck is normalised too.
"""

norm_cfg = dict(type='BN', requires_grad=True)
scratch_backbone = dict(
    depth=18,
    style='pytorch',
    frozen_stages=-1,
    norm_eval=False,
    norm_cfg=norm_cfg,
    init_cfg=None,
)
teacher_options = dict(
    backbone=dict(base_channels=32, **scratch_backbone),
    neck=dict(
        in_channels=[32, 64, 128, 256], out_channels=64, norm_cfg=norm_cfg
    ),
)
student_options = dict(
    backbone=dict(base_channels=8, **scratch_backbone),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=64, norm_cfg=norm_cfg),
)
