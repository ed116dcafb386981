"""The teacher of the BCCD pair alone: FCOS from scratch at 320 x 240."""

_base_ = [
    '../_base_/pairs/small_fcos/teacher.py',
    '../_base_/datasets/bccd_detection.py',
    '../_base_/schedules/scratch_adamw.py',
]

model = dict(cfg_options=dict(bbox_head=dict(num_classes=3)))

train_cfg = dict(max_epochs=24)
