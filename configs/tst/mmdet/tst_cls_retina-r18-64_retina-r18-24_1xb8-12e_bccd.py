"""TST with KD on BCCD: RetinaNet-R18 -> RetinaNet-R18 of 3/8 the width.

Both from scratch at 320 x 240. Train the teacher first, with
``configs/detectors/retinanet_r18-64_1xb8-24e_bccd.py``.
"""

_base_ = [
    '../../_base_/pairs/small_retinanet/tst.py',
    '../../_base_/datasets/bccd_detection.py',
    '../../_base_/schedules/scratch_12e.py',
]

classes = dict(bbox_head=dict(num_classes=3))
model = dict(
    architecture=dict(cfg_options=classes),
    teacher=dict(cfg_options=classes),
    teacher_ckpt='work_dirs/retinanet_r18-64_1xb8-24e_bccd/epoch_24.pth',
)
# As in the paper after 1/4 and 1/2 of the epochs; 100 steps each.
custom_hooks = [dict(type='mmtst.PolicySearchHook', at=[3, 6])]
