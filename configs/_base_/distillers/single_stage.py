"""Distillers of one-stage detectors: TST's "KD" and "KD+mimic".

Both heads give ``(class scores, box deltas, ...)``, one entry for each level;
both necks give one feature map for each level.
"""

_head = dict(type='ModuleOutputs', source='bbox_head')
_neck = dict(type='ModuleOutputs', source='neck')
_kl = dict(type='mmtst.DenseKLLoss', tau=1.0, loss_weight=1.0)
_kl_mapping = dict(
    preds_S=dict(from_student=True, recorder='head', data_idx=0),
    preds_T=dict(from_student=False, recorder='head', data_idx=0),
)

kd_distiller = dict(
    type='mmtst.DataAugmentationDistiller',
    student_recorders=dict(head=_head),
    teacher_recorders=dict(head=_head),
    distill_losses=dict(loss_kl=_kl),
    loss_forward_mappings=dict(loss_kl=_kl_mapping),
)
kd_mimic_distiller = dict(
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
    distill_losses=dict(
        loss_kl=_kl,
        loss_mimic=dict(type='mmtst.MimicLoss', loss_weight=1.0),
    ),
    loss_forward_mappings=dict(
        loss_kl=_kl_mapping,
        loss_mimic=dict(
            preds_S=dict(from_student=True, recorder='neck', connector='neck'),
            preds_T=dict(from_student=False, recorder='neck'),
        ),
    ),
)
# FCOS's third output, merged into either of the above: what the reference code
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
