"""The teacher of the demo alone, on the shapes set."""

_base_ = [
    '../../_base_/pairs/small_pspnet/teacher.py',
    '../../_base_/datasets/shapes_segmentation.py',
    '../../_base_/schedules/scratch_adamw_iters.py',
]

classes = dict(
    decode_head=dict(num_classes=6), auxiliary_head=dict(num_classes=6)
)
model = dict(cfg_options=classes)

train_cfg = dict(max_iters=1000, val_interval=250)
