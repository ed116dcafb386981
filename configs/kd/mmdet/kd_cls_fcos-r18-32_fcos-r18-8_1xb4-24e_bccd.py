"""KD on BCCD: the baseline beside TST's pair, under the same schedule."""

_base_ = [
    '../../_base_/pairs/small_fcos/kd.py',
    '../../_base_/datasets/bccd_detection.py',
    '../../_base_/schedules/scratch_adamw.py',
]

classes = dict(bbox_head=dict(num_classes=3))
model = dict(
    architecture=dict(cfg_options=classes),
    teacher=dict(
        cfg_options=classes,
        checkpoint='work_dirs/fcos_r18-32_1xb4-24e_bccd/epoch_24.pth',
    ),
)

train_cfg = dict(max_epochs=24)
