"""The student of the BCCD pair alone: RetinaNet-R18 of 3/8 the width."""

_base_ = [
    'mmdet::_base_/models/retinanet_r50_fpn.py',
    '../_base_/datasets/bccd_detection.py',
    '../_base_/schedules/scratch_24e.py',
    '../_base_/models/retinanet_from_scratch.py',
]

model = {{_base_.student_options}}
