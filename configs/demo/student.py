"""The student of the demo alone, on the shapes set."""

_base_ = [
    '../_base_/pairs/tiny_retinanet/student.py',
    '../_base_/datasets/shapes_detection.py',
    '../_base_/schedules/scratch_4e.py',
]

model = dict(bbox_head=dict(num_classes=5))
