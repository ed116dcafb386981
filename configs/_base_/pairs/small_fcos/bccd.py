"""The small FCOS pair on BCCD, 24 epochs from scratch at 320 x 240.

Train the teacher first, with
``configs/detectors/fcos_r18-32_1xb4-24e_bccd.py``.
"""

_base_ = [
    './pair.py',
    '../../datasets/bccd_detection.py',
    '../../schedules/scratch_adamw.py',
]

classes = dict(bbox_head=dict(num_classes=3))
model = dict(
    architecture=dict(cfg_options=classes),
    teacher=dict(cfg_options=classes),
    teacher_ckpt='work_dirs/fcos_r18-32_1xb4-24e_bccd/epoch_24.pth',
)

train_cfg = dict(max_epochs=24)
