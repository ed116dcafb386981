"""The small PSPNet pair; a method's config adds its distiller."""

_base_ = ['./options.py', '../../distillers/segmentation.py']

model = dict(
    _scope_='mmrazor',
    type='mmtst.TeacherStudentDistill',
    architecture=dict(
        cfg_path='mmseg::pspnet/pspnet_r50-d8_4xb2-80k_cityscapes-512x1024.py',
        cfg_options={{_base_.student_options}},
    ),
    teacher=dict(
        cfg_path='mmseg::pspnet/pspnet_r50-d8_4xb2-80k_cityscapes-512x1024.py',
        cfg_options={{_base_.teacher_options}},
    ),
)
