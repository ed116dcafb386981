"""An FCOS pair that learns small pictures from scratch.

The dictionaries are overrides of mmdet's FCOS-R50, the heads as the student's
in the paper's setting (GIoU, normalised boxes, center sampling), for a
detector alone and for ``cfg_options`` alike; the class count is the data's
business. Here the teacher's head is so too: without it, a wide teacher came
out below the narrow student alone on BCCD.
"""

_base_ = '../small_bodies.py'

small_head = dict(
    in_channels=64,
    feat_channels=64,
    stacked_convs=2,
    norm_cfg=dict(type='GN', num_groups=8, requires_grad=True),
    norm_on_bbox=True,
    center_sampling=True,
    loss_bbox=dict(type='GIoULoss', loss_weight=1.0),
)
teacher_options = dict(bbox_head=small_head)
student_options = dict(bbox_head=small_head)
