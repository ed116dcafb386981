"""The teacher of the demo alone, on the shapes set."""

_base_ = [
    '../../_base_/pairs/small_pspnet/teacher.py',
    '../../_base_/pairs/small_pspnet/shapes.py',
]

model = dict(cfg_options={{_base_.shapes_options}})

train_cfg = dict(max_iters=2000)
