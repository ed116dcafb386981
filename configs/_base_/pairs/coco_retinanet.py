"""RetinaNet-X101-64x4d -> RetinaNet-R50 on COCO, a pair of the paper."""

_base_ = [
    '../schedules/coco_2x.py',
    '../distillers/single_stage.py',
    '../distillers/neck.py',
]

model = dict(
    _scope_='mmrazor',
    type='mmtst.TeacherStudentDistill',
    architecture=dict(
        cfg_path='mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
    ),
    teacher=dict(
        cfg_path='mmdet::retinanet/retinanet_x101-64x4d_fpn_1x_coco.py',
        cfg_options=dict(backbone=dict(init_cfg=None)),
    ),
    teacher_ckpt='https://download.openmmlab.com/mmdetection/v2.0/retinanet/'
    'retinanet_x101_64x4d_fpn_1x_coco/'
    'retinanet_x101_64x4d_fpn_1x_coco_20200130-366f5af1.pth',
)
optim_wrapper = dict(optimizer=dict(lr=0.01))
