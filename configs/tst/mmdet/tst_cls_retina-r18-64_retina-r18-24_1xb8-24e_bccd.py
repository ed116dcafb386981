"""TST with KD on BCCD: RetinaNet-R18 -> RetinaNet-R18 of 3/8 the width.

Both from scratch at 320 x 240. Train the teacher first, with
``configs/detectors/retinanet_r18-64_1xb8-24e_bccd.py``, and name its
checkpoint with ``--cfg-options model.teacher_ckpt=FILE``.
"""

_base_ = [
    '../../_base_/datasets/bccd_detection.py',
    '../../_base_/schedules/scratch_24e.py',
    '../../_base_/models/retinanet_from_scratch.py',
    '../../_base_/distillers/single_stage.py',
]

model = dict(
    _scope_='mmrazor',
    type='mmtst.TSTDistill',
    architecture=dict(
        cfg_path='mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
        cfg_options={{_base_.student_options}},
    ),
    teacher=dict(
        cfg_path='mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
        cfg_options={{_base_.teacher_options}},
    ),
    teacher_ckpt='work_dirs/retinanet_r18-64_1xb8-24e_bccd/epoch_24.pth',
    distiller={{_base_.kd_distiller}},
    augmentation=dict(type='mmtst.AugmentationEncoder', num_operators=4),
    objective=dict(type='mmtst.GapObjective'),
)
# The paper's epochs 6 and 12; each search takes max(1 epoch, 100 iterations).
custom_hooks = [dict(type='mmtst.PolicySearchHook', at=[6, 12])]
