"""A RetinaNet pair that learns small pictures from scratch, on a CPU too.

Its head learns in few steps: GroupNorm, since one BatchNorm for all levels of
the pyramid gathers statistics in training that fit none of them in
evaluation; square anchors alone, from 16 pixels on. The dictionaries are
overrides of mmdet's RetinaNet-R50, for a detector alone and for
``cfg_options`` alike; the class count is the data's business.
"""

_base_ = '../small_bodies.py'

small_head = dict(
    in_channels=64,
    feat_channels=64,
    stacked_convs=2,
    norm_cfg=dict(type='GN', num_groups=8, requires_grad=True),
    anchor_generator=dict(octave_base_scale=2, ratios=[1.0]),
)
teacher_options = dict(bbox_head=small_head)
student_options = dict(bbox_head=small_head)
