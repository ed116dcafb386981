"""FCOS-R101 -> FCOS-R50 on COCO, a pair of the paper.

Both are caffe-style: BGR, means alone.
"""

_base_ = [
    '../schedules/coco_2x_fcos.py',
    '../distillers/single_stage.py',
    '../distillers/neck_fcos.py',
]

model = dict(
    _scope_='mmrazor',
    type='mmtst.TeacherStudentDistill',
    architecture=dict(
        cfg_path='mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
        cfg_options={{_base_.fcos_r50_options}},
    ),
    teacher=dict(
        cfg_path='mmdet::fcos/'
        'fcos_r101-caffe_fpn_gn-head_ms-640-800-2x_coco.py',
        cfg_options=dict(backbone=dict(init_cfg=None)),
    ),
    teacher_ckpt='https://download.openmmlab.com/mmdetection/v2.0/fcos/'
    'fcos_r101_caffe_fpn_gn-head_mstrain_640-800_2x_coco/'
    'fcos_r101_caffe_fpn_gn-head_mstrain_640-800_2x_coco-511424d6.pth',
)
