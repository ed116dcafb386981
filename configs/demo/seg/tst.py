"""TST with KD on the shapes set, with two searches."""

_base_ = [
    '../../_base_/pairs/small_pspnet/tst.py',
    '../../_base_/datasets/shapes_segmentation.py',
    '../../_base_/schedules/scratch_adamw_iters.py',
]

classes = dict(
    decode_head=dict(num_classes=6), auxiliary_head=dict(num_classes=6)
)
model = dict(
    architecture=dict(cfg_options=classes),
    teacher=dict(cfg_options=classes),
    teacher_ckpt='demo_output_seg/teacher/iter_1000.pth',
)
# After 1/4 and 1/2 of the iterations.
custom_hooks = [
    dict(
        type='mmtst.PolicySearchHook',
        at=[125, 250],
        by_epoch=False,
        iterations=100,
    )
]

train_cfg = dict(max_iters=500, val_interval=250)
