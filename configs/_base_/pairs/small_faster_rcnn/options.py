"""A Faster R-CNN pair that learns small pictures from scratch.

The dictionaries are overrides of mmdet's Faster R-CNN-R50, for a detector
alone and for ``cfg_options`` alike; the class count is the data's business.
Fewer proposals and RoIs than mmdet takes are enough for small pictures.
"""

_base_ = '../small_bodies.py'

small_heads = dict(
    rpn_head=dict(in_channels=64, feat_channels=64),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64),
        bbox_head=dict(in_channels=64, fc_out_channels=128),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=500, max_per_img=250),
        rcnn=dict(sampler=dict(num=128)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=250)),
)
teacher_options = small_heads
student_options = small_heads
