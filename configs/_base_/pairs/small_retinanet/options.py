"""A small RetinaNet pair for training from scratch.

mmdet's config expects a pretrained backbone: first stage and statistics
frozen. From scratch that would freeze a random stem, so all of it is switched
off, and neck and head are normalised too. The dictionaries are overrides of
mmdet's RetinaNet-R50, for a detector alone and for ``cfg_options`` alike; the
class count is the data's business.
"""

norm_cfg = dict(type='BN', requires_grad=True)
scratch_backbone = dict(
    frozen_stages=-1, norm_eval=False, norm_cfg=norm_cfg, init_cfg=None
)
small_head = dict(
    in_channels=64, feat_channels=64, stacked_convs=2, norm_cfg=norm_cfg
)
teacher_options = dict(
    backbone=dict(depth=18, **scratch_backbone),
    neck=dict(
        in_channels=[64, 128, 256, 512], out_channels=64, norm_cfg=norm_cfg
    ),
    bbox_head=small_head,
)
student_options = dict(
    backbone=dict(depth=18, base_channels=24, **scratch_backbone),
    neck=dict(
        in_channels=[24, 48, 96, 192], out_channels=64, norm_cfg=norm_cfg
    ),
    bbox_head=small_head,
)
