"""Distillers of two-stage detectors that compare class predictions.

KD and DIST, each with the neck's features beside it too (``*_mimic``, TST's
"KD+mimic"); those that compare necks alone stand in ``neck.py``. The class
scores of the box heads, (RoIs, classes + 1), are compared on the RoIs that the
student has sampled; necks give one feature map for each level.

Of a cascade the first stage counts. For a teacher (or a student) with one,
change the source, as ``pairs/coco_faster_rcnn.py`` does.
"""

_head = dict(type='ModuleOutputs', source='roi_head.bbox_head.fc_cls')
_neck = dict(type='ModuleOutputs', source='neck')
_classes = dict(
    type='mmtst.DataAugmentationDistiller',
    student_recorders=dict(head=_head),
    teacher_recorders=dict(head=_head),
)
_classes_neck = dict(
    type='mmtst.DataAugmentationDistiller',
    student_recorders=dict(head=_head, neck=_neck),
    teacher_recorders=dict(head=_head, neck=_neck),
    connectors=dict(
        neck=dict(
            type='mmtst.PyramidConnector',
            in_channels=256,
            out_channels=256,
            num_levels=5,
        )
    ),
)
_class_mapping = dict(
    preds_S=dict(from_student=True, recorder='head'),
    preds_T=dict(from_student=False, recorder='head'),
)
_mimic = dict(loss_mimic=dict(type='mmtst.MimicLoss', loss_weight=1.0))
_mimic_mapping = dict(
    preds_S=dict(from_student=True, recorder='neck', connector='neck'),
    preds_T=dict(from_student=False, recorder='neck'),
)
_kl = dict(loss_kl=dict(type='mmtst.DenseKLLoss', tau=1.0, loss_weight=1.0))
_dist = dict(
    loss_dist=dict(
        type='mmtst.LevelwiseLoss',
        form='rows',
        loss=dict(type='mmrazor.DISTLoss', tau=1.0, loss_weight=1.0),
    )
)

kd_distiller = dict(
    **_classes,
    distill_losses=_kl,
    loss_forward_mappings=dict(loss_kl=_class_mapping),
)
kd_mimic_distiller = dict(
    **_classes_neck,
    distill_losses=dict(**_kl, **_mimic),
    loss_forward_mappings=dict(
        loss_kl=_class_mapping, loss_mimic=_mimic_mapping
    ),
)
dist_distiller = dict(
    **_classes,
    distill_losses=_dist,
    loss_forward_mappings=dict(loss_dist=_class_mapping),
)
dist_mimic_distiller = dict(
    **_classes_neck,
    distill_losses=dict(**_dist, **_mimic),
    loss_forward_mappings=dict(
        loss_dist=_class_mapping, loss_mimic=_mimic_mapping
    ),
)
