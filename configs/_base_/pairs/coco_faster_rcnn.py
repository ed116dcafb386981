"""Cascade Mask R-CNN-X101-64x4d -> Faster R-CNN-R50 on COCO, of the paper.

The teacher judges the RoIs that the student has sampled, with the first stage
of its cascade; its mask head is left out once it is loaded.
"""

_base_ = [
    '../schedules/coco_2x.py',
    '../distillers/two_stage.py',
    '../distillers/neck_two_stage.py',
]

model = dict(
    _scope_='mmrazor',
    type='mmtst.TeacherStudentDistill',
    architecture=dict(
        cfg_path='mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
    ),
    teacher=dict(
        cfg_path='mmdet::cascade_rcnn/'
        'cascade-mask-rcnn_x101-64x4d_fpn_20e_coco.py',
        cfg_options=dict(backbone=dict(init_cfg=None)),
    ),
    teacher_ckpt='https://download.openmmlab.com/mmdetection/v2.0/'
    'cascade_rcnn/cascade_mask_rcnn_x101_64x4d_fpn_20e_coco/'
    'cascade_mask_rcnn_x101_64x4d_fpn_20e_coco_20200512_161033-bdb5126a.pth',
)
optim_wrapper = dict(optimizer=dict(lr=0.02))

# Merged into the distillers that compare class predictions.
first_stage = dict(
    teacher_recorders=dict(head=dict(source='roi_head.bbox_head.0.fc_cls'))
)
kd_distiller = first_stage
kd_mimic_distiller = first_stage
dist_distiller = first_stage
dist_mimic_distiller = first_stage
