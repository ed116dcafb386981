"""A RetinaNet pair that learns small pictures from scratch, on a CPU too.

mmdet's config expects a pretrained backbone: first stage and statistics
frozen. From scratch that would freeze a random stem, so all of it is switched
off, and the neck is normalised too. The head learns in few steps: GroupNorm,
since one BatchNorm for all levels of the pyramid gathers statistics in
training that fit none of them in evaluation; square anchors alone, from 16
pixels on. The dictionaries are overrides of mmdet's RetinaNet-R50, for a
detector alone and for ``cfg_options`` alike; the class count is the data's
business.
"""

norm_cfg = dict(type='BN', requires_grad=True)
scratch_backbone = dict(
    depth=18,
    frozen_stages=-1,
    norm_eval=False,
    norm_cfg=norm_cfg,
    init_cfg=None,
)
small_head = dict(
    in_channels=64,
    feat_channels=64,
    stacked_convs=2,
    norm_cfg=dict(type='GN', num_groups=8, requires_grad=True),
    anchor_generator=dict(octave_base_scale=2, ratios=[1.0]),
)
teacher_options = dict(
    backbone=dict(base_channels=32, **scratch_backbone),
    neck=dict(
        in_channels=[32, 64, 128, 256], out_channels=64, norm_cfg=norm_cfg
    ),
    bbox_head=small_head,
)
student_options = dict(
    backbone=dict(base_channels=8, **scratch_backbone),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=64, norm_cfg=norm_cfg),
    bbox_head=small_head,
)
