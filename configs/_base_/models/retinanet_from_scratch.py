"""Small RetinaNets for training from scratch: a teacher and a student.

mmdet's config expects a pretrained backbone: first stage and statistics
frozen. From scratch that would freeze a random stem, so all of it is switched
off, and neck and head are normalised too. The dictionaries are overrides of
``mmdet::_base_/models/retinanet_r50_fpn.py``, for a detector alone and for
``cfg_options`` alike.
"""

norm_cfg = dict(type='BN', requires_grad=True)
teacher_options = dict(
    backbone=dict(
        depth=18,
        frozen_stages=-1,
        norm_eval=False,
        norm_cfg=norm_cfg,
        init_cfg=None,
    ),
    neck=dict(
        in_channels=[64, 128, 256, 512], out_channels=64, norm_cfg=norm_cfg
    ),
    bbox_head=dict(
        num_classes=3,
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        norm_cfg=norm_cfg,
    ),
)
student_options = dict(
    backbone=dict(
        depth=18,
        base_channels=24,
        frozen_stages=-1,
        norm_eval=False,
        norm_cfg=norm_cfg,
        init_cfg=None,
    ),
    neck=dict(
        in_channels=[24, 48, 96, 192], out_channels=64, norm_cfg=norm_cfg
    ),
    bbox_head=dict(
        num_classes=3,
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        norm_cfg=norm_cfg,
    ),
)
