"""Distillers of one-stage detectors that compare class predictions.

KD and DIST, each with the neck's features beside it too (``*_mimic``, TST's
"KD+mimic"); those that compare necks alone stand in ``neck.py``. Heads give
``(class scores, box deltas, ...)``, one entry for each level; necks one
feature map for each level.
"""

_head = dict(type='ModuleOutputs', source='bbox_head')
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
    preds_S=dict(from_student=True, recorder='head', data_idx=0),
    preds_T=dict(from_student=False, recorder='head', data_idx=0),
)
_mimic = dict(loss_mimic=dict(type='mmtst.MimicLoss', loss_weight=1.0))
_mimic_mapping = dict(
    preds_S=dict(from_student=True, recorder='neck', connector='neck'),
    preds_T=dict(from_student=False, recorder='neck'),
)
_kl = dict(loss_kl=dict(type='mmtst.DenseKLLoss', tau=1.0, loss_weight=1.0))
# On a map as it is, mmrazor's loss would correlate along the wrong axes.
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
# FCOS's third output, merged into any of the above: what the reference code
# distils beside the classes.
centerness_kl = dict(
    distill_losses=dict(
        loss_kl_centerness=dict(
            type='mmtst.DenseKLLoss', tau=1.0, loss_weight=1.0, form='sigmoid'
        )
    ),
    loss_forward_mappings=dict(
        loss_kl_centerness=dict(
            preds_S=dict(from_student=True, recorder='head', data_idx=2),
            preds_T=dict(from_student=False, recorder='head', data_idx=2),
        )
    ),
)
