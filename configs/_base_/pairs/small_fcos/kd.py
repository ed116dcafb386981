"""The small FCOS pair under KD, by mmrazor's own algorithm.

The same student, teacher and loss as under TST, one view of each image.
"""

_base_ = ['./options.py', '../../distillers/single_stage.py']

model = dict(
    _scope_='mmrazor',
    type='SingleTeacherDistill',
    architecture=dict(
        type='mmtst.model_from_config',
        cfg_path='mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
        cfg_options={{_base_.student_options}},
    ),
    teacher=dict(
        type='mmtst.model_from_config',
        cfg_path='mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
        cfg_options={{_base_.teacher_options}},
    ),
    distiller={{_base_.kd_distiller}},
)
