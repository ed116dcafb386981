"""TST with KD on BCCD: Faster R-CNN-R18 -> one of a quarter of its width.

Both from scratch at 320 x 240. Train the teacher first, with
``configs/detectors/faster-rcnn_r18-32_1xb4-24e_bccd.py``.
"""

_base_ = [
    '../../_base_/pairs/small_faster_rcnn/tst.py',
    '../../_base_/datasets/bccd_detection.py',
    '../../_base_/schedules/scratch_adamw.py',
]

classes = dict(roi_head=dict(bbox_head=dict(num_classes=3)))
model = dict(
    architecture=dict(cfg_options=classes),
    teacher=dict(cfg_options=classes),
    teacher_ckpt='work_dirs/faster-rcnn_r18-32_1xb4-24e_bccd/epoch_24.pth',
)
# As in the paper after 1/4 and 1/2 of the epochs. An epoch is 52 steps here,
# 7,330 on COCO: longer steps make up for some of it.
custom_hooks = [
    dict(type='mmtst.PolicySearchHook', at=[6, 12], iterations=150, lr=0.1)
]

train_cfg = dict(max_epochs=24)
