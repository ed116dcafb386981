"""KD on BCCD: the baseline beside TST's pair, under the same schedule."""

_base_ = [
    '../../_base_/pairs/small_faster_rcnn/kd.py',
    '../../_base_/datasets/bccd_detection.py',
    '../../_base_/schedules/scratch_adamw.py',
]

classes = dict(roi_head=dict(bbox_head=dict(num_classes=3)))
model = dict(
    architecture=dict(cfg_options=classes),
    teacher=dict(cfg_options=classes),
    teacher_ckpt='work_dirs/faster-rcnn_r18-32_1xb4-24e_bccd/epoch_24.pth',
)

train_cfg = dict(max_epochs=24)
