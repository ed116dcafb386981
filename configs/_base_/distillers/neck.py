"""Distillers that compare the feature pyramids of any two detectors.

CWD, PKD, MGD and FGD, on the five levels of a neck. Weights are those of
mmrazor's own configs where it has them, else of the papers.
"""

_neck_recorders = dict(
    type='mmtst.DataAugmentationDistiller',
    student_recorders=dict(
        neck=dict(type='ModuleOutputs', source='neck'),
    ),
    teacher_recorders=dict(
        neck=dict(type='ModuleOutputs', source='neck'),
    ),
)
_neck_mapping = dict(
    preds_S=dict(from_student=True, recorder='neck'),
    preds_T=dict(from_student=False, recorder='neck'),
)

cwd_distiller = dict(
    **_neck_recorders,
    distill_losses=dict(
        loss_cwd=dict(
            type='mmtst.LevelwiseLoss',
            loss=dict(
                type='mmrazor.ChannelWiseDivergence', tau=1, loss_weight=10
            ),
        )
    ),
    loss_forward_mappings=dict(loss_cwd=_neck_mapping),
)
pkd_distiller = dict(
    **_neck_recorders,
    distill_losses=dict(
        loss_pkd=dict(
            type='mmtst.LevelwiseLoss',
            loss=dict(type='mmrazor.PKDLoss', loss_weight=6),
        )
    ),
    loss_forward_mappings=dict(loss_pkd=_neck_mapping),
)
mgd_distiller = dict(
    **_neck_recorders,
    connectors=dict(
        neck=dict(
            type='mmtst.LevelwiseConnector',
            connector=dict(
                type='mmrazor.MGDConnector',
                student_channels=256,
                teacher_channels=256,
                lambda_mgd=0.65,
            ),
        )
    ),
    distill_losses=dict(
        loss_mgd=dict(
            type='mmtst.LevelwiseLoss',
            loss=dict(type='mmrazor.MGDLoss', alpha_mgd=0.00002),
        )
    ),
    loss_forward_mappings=dict(
        loss_mgd=dict(
            preds_S=dict(from_student=True, recorder='neck', connector='neck'),
            preds_T=dict(from_student=False, recorder='neck'),
        )
    ),
)
fgd_distiller = dict(
    **_neck_recorders,
    distill_losses=dict(loss_fgd=dict(type='mmtst.FGDLoss', channels=256)),
    loss_forward_mappings=dict(loss_fgd=_neck_mapping),
)
