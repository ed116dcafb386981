"""The small FCOS pair; a method's config adds its distiller."""

_base_ = [
    './options.py',
    '../../distillers/single_stage.py',
    '../../distillers/neck_fcos.py',
]

model = dict(
    _scope_='mmrazor',
    type='mmtst.TeacherStudentDistill',
    architecture=dict(
        cfg_path='mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
        cfg_options={{_base_.student_options}},
    ),
    teacher=dict(
        cfg_path='mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
        cfg_options={{_base_.teacher_options}},
    ),
)

# The necks' width, merged into the distillers that compare them.
narrow = dict(connectors=dict(neck=dict(in_channels=64, out_channels=64)))
kd_mimic_distiller = narrow
dist_mimic_distiller = narrow
mgd_distiller = dict(
    connectors=dict(
        neck=dict(connector=dict(student_channels=64, teacher_channels=64))
    )
)
fgd_distiller = dict(distill_losses=dict(loss_fgd=dict(channels=64)))
