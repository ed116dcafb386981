"""KD on the shapes set."""

_base_ = [
    '../../_base_/pairs/small_pspnet/pair.py',
    '../../_base_/pairs/small_pspnet/shapes.py',
]

model = dict(
    architecture=dict(cfg_options={{_base_.shapes_options}}),
    teacher=dict(cfg_options={{_base_.shapes_options}}),
    teacher_ckpt='demo_output_seg/teacher/iter_2000.pth',
    distiller={{_base_.kd_distiller}},
)
