"""TST with KD on the shapes set, with two searches."""

_base_ = [
    '../../_base_/pairs/small_pspnet/tst.py',
    '../../_base_/pairs/small_pspnet/shapes.py',
]

model = dict(
    architecture=dict(cfg_options={{_base_.shapes_options}}),
    teacher=dict(cfg_options={{_base_.shapes_options}}),
    teacher_ckpt='demo_output_seg/teacher/iter_2000.pth',
)
# After 1/4 and 1/2 of the iterations.
custom_hooks = [
    dict(
        type='mmtst.PolicySearchHook',
        at=[375, 750],
        by_epoch=False,
        iterations=100,
    )
]
