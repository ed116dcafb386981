"""Distillers of two-stage detectors: TST's "KD" and "KD+mimic".

The class scores, (RoIs, classes + 1), of the box heads are compared, on the
RoIs that the student has sampled; both necks give one feature map for each
level. For a teacher with a cascade, whose first stage counts, take those named
``cascade_*``; for a student with one, add to the config that takes them

    distiller=dict(student_recorders=dict(head=dict(
        source='roi_head.bbox_head.0.fc_cls')))
"""

_head = dict(type='ModuleOutputs', source='roi_head.bbox_head.fc_cls')
_cascade_head = dict(
    type='ModuleOutputs', source='roi_head.bbox_head.0.fc_cls'
)
_neck = dict(type='ModuleOutputs', source='neck')
_kd = dict(
    type='mmtst.DataAugmentationDistiller',
    student_recorders=dict(head=_head),
    distill_losses=dict(
        loss_kl=dict(type='mmtst.DenseKLLoss', tau=1.0, loss_weight=1.0)
    ),
    loss_forward_mappings=dict(
        loss_kl=dict(
            preds_S=dict(from_student=True, recorder='head'),
            preds_T=dict(from_student=False, recorder='head'),
        )
    ),
)
_mimic = dict(
    type='mmtst.DataAugmentationDistiller',
    student_recorders=dict(head=_head, neck=_neck),
    connectors=dict(
        neck=dict(
            type='mmtst.PyramidConnector',
            in_channels=256,
            out_channels=256,
            num_levels=5,
        )
    ),
    distill_losses=dict(
        **_kd['distill_losses'],
        loss_mimic=dict(type='mmtst.MimicLoss', loss_weight=1.0),
    ),
    loss_forward_mappings=dict(
        **_kd['loss_forward_mappings'],
        loss_mimic=dict(
            preds_S=dict(from_student=True, recorder='neck', connector='neck'),
            preds_T=dict(from_student=False, recorder='neck'),
        ),
    ),
)

kd_distiller = dict(**_kd, teacher_recorders=dict(head=_head))
kd_mimic_distiller = dict(
    **_mimic, teacher_recorders=dict(head=_head, neck=_neck)
)
cascade_kd_distiller = dict(**_kd, teacher_recorders=dict(head=_cascade_head))
cascade_kd_mimic_distiller = dict(
    **_mimic, teacher_recorders=dict(head=_cascade_head, neck=_neck)
)
