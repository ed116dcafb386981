"""Distillers that compare the feature pyramids of any two detectors.

CWD, PKD, MGD and FGD, on the levels of a neck, for one-stage detectors
with anchors. Settings and where they are from:
``docs/en/methods/baselines.md``.
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
            num_levels=4,
            loss=dict(type='mmrazor.PKDLoss', loss_weight=10),
        )
    ),
    loss_forward_mappings=dict(loss_pkd=_neck_mapping),
)
mgd_distiller = dict(
    **_neck_recorders,
    connectors=dict(
        neck=dict(
            type='mmtst.LevelwiseConnector',
            num_levels=5,
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
            num_levels=5,
            loss=dict(type='mmrazor.MGDLoss', alpha_mgd=2e-5),
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
    distill_losses=dict(
        loss_fgd=dict(
            type='mmtst.FGDLoss',
            channels=256,
            num_levels=5,
            tau=0.5,
            alpha=1e-3,
            beta=5e-4,
            gamma=5e-4,
            lambda_=5e-6,
        )
    ),
    loss_forward_mappings=dict(loss_fgd=_neck_mapping),
)
