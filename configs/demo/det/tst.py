"""TST with KD on the shapes set, with two searches."""

_base_ = [
    '../../_base_/pairs/small_retinanet/tst.py',
    '../../_base_/datasets/shapes_detection.py',
    '../../_base_/schedules/scratch_adamw.py',
]

classes = dict(bbox_head=dict(num_classes=5))
model = dict(
    architecture=dict(cfg_options=classes),
    teacher=dict(cfg_options=classes),
    teacher_ckpt='demo_output/teacher/epoch_8.pth',
)
# As in the paper after 1/4 and 1/2 of the epochs.
custom_hooks = [dict(type='mmtst.PolicySearchHook', at=[1, 2], iterations=100)]

train_cfg = dict(max_epochs=4, val_interval=2)
