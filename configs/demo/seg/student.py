"""The student of the demo alone, on the shapes set."""

_base_ = [
    '../../_base_/pairs/small_pspnet/student.py',
    '../../_base_/pairs/small_pspnet/shapes.py',
]

model = dict(cfg_options={{_base_.shapes_options}})
