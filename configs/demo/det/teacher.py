"""The teacher of the demo alone, on the shapes set."""

_base_ = [
    '../../_base_/pairs/small_retinanet/teacher.py',
    '../../_base_/datasets/shapes_detection.py',
    '../../_base_/schedules/scratch_adamw.py',
]

model = dict(bbox_head=dict(num_classes=5))

train_cfg = dict(max_epochs=8)
