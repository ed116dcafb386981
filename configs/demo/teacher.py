"""The teacher of the demo alone, on the shapes set."""

_base_ = [
    '../_base_/pairs/tiny_retinanet/teacher.py',
    '../_base_/datasets/shapes_detection.py',
    '../_base_/schedules/scratch_8e.py',
]

model = dict(bbox_head=dict(num_classes=5))
