"""KD on the shapes set."""

_base_ = [
    '../../_base_/pairs/small_retinanet/pair.py',
    '../../_base_/datasets/shapes_detection.py',
    '../../_base_/schedules/scratch_adamw.py',
]

classes = dict(bbox_head=dict(num_classes=5))
model = dict(
    architecture=dict(cfg_options=classes),
    teacher=dict(cfg_options=classes),
    teacher_ckpt='demo_output/teacher/epoch_8.pth',
    distiller={{_base_.kd_distiller}},
)

train_cfg = dict(max_epochs=4, val_interval=2)
