"""KD on BCCD by mmrazor's own algorithm: the baseline beside TST's pair.

The same student, teacher, loss and schedule, one view of each image.
"""

_base_ = [
    '../../_base_/datasets/bccd_detection.py',
    '../../_base_/schedules/scratch_24e.py',
    '../../_base_/models/retinanet_from_scratch.py',
    '../../_base_/distillers/single_stage.py',
]

model = dict(
    _scope_='mmrazor',
    type='SingleTeacherDistill',
    architecture=dict(
        type='mmtst.model_from_config',
        cfg_path='mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
        cfg_options={{_base_.student_options}},
    ),
    teacher=dict(
        type='mmtst.model_from_config',
        cfg_path='mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
        cfg_options={{_base_.teacher_options}},
        checkpoint='work_dirs/retinanet_r18-64_1xb8-24e_bccd/epoch_24.pth',
    ),
    distiller={{_base_.kd_distiller}},
)
