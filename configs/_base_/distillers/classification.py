"""Distillers of image classifiers.

KD, DKD and DIST compare class scores, (B, classes), FitNet, AT and ReviewKD
feature maps, CRD the pooled vector before the classifier; each beside the
student's own cross-entropy, of weight 1. Settings and where they are from:
``docs/en/methods/baselines.md``.

Maps are what the backbones return: set ``out_indices`` to all stages, on both
sides. Vectors are what the necks return for the last of them. Numbers that
hang on the pair have to be merged in by the pair's config:

.. code-block:: python

    fitnet_distiller = dict(
        connectors=dict(stage=dict(in_channel=128, out_channel=128))
    )
    crd_distiller = dict(
        connectors=dict(student=dict(dim_in=256), teacher=dict(dim_in=256))
    )
    reviewkd_distiller = dict(
        connectors=dict(
            stages=dict(
                in_channels=[64, 128, 256, 256],
                out_channels=[64, 128, 256, 256],
            )
        ),
        distill_losses=dict(loss_reviewkd=dict(loss=dict(loss_weight=5.0))),
    )

for ResNet32x4 -> ResNet8x4, with stages of 64, 128 and 256 channels on both
sides.
"""

_scores = dict(fc=dict(type='ModuleOutputs', source='head.fc'))
_maps = dict(backbone=dict(type='ModuleOutputs', source='backbone'))
_vectors = dict(neck=dict(type='ModuleOutputs', source='neck'))

_compared_scores = dict(
    type='mmtst.DataAugmentationDistiller',
    student_recorders=_scores,
    teacher_recorders=_scores,
)
_compared_maps = dict(
    type='mmtst.DataAugmentationDistiller',
    student_recorders=_maps,
    teacher_recorders=_maps,
)
_score_mapping = dict(
    preds_S=dict(from_student=True, recorder='fc'),
    preds_T=dict(from_student=False, recorder='fc'),
)

kd_distiller = dict(
    **_compared_scores,
    distill_losses=dict(
        loss_kl=dict(type='mmrazor.KLDivergence', tau=4.0, loss_weight=1.0)
    ),
    loss_forward_mappings=dict(loss_kl=_score_mapping),
)
# Half the weight: of some pairs in TST's reference code.
kd_half_distiller = dict(
    **_compared_scores,
    distill_losses=dict(
        loss_kl=dict(type='mmrazor.KLDivergence', tau=4.0, loss_weight=0.5)
    ),
    loss_forward_mappings=dict(loss_kl=_score_mapping),
)
dkd_distiller = dict(
    type='mmtst.DataAugmentationDistiller',
    student_recorders=dict(
        **_scores,
        # Called as loss_module(scores, labels, ...).
        labels=dict(type='ModuleInputs', source='head.loss_module'),
    ),
    teacher_recorders=_scores,
    distill_losses=dict(
        loss_dkd=dict(
            type='mmtst.WarmupLoss',
            epochs=20,
            loss=dict(
                type='mmtst.DKDLoss',
                tau=4.0,
                alpha=1.0,
                beta=8.0,
                loss_weight=1.0,
            ),
        )
    ),
    loss_forward_mappings=dict(
        loss_dkd=dict(
            **_score_mapping,
            gt_labels=dict(from_student=True, recorder='labels', data_idx=1),
        )
    ),
)
dist_distiller = dict(
    **_compared_scores,
    distill_losses=dict(
        loss_dist=dict(
            type='mmrazor.DISTLoss',
            inter_loss_weight=2.0,
            intra_loss_weight=2.0,
            tau=4.0,
            loss_weight=1.0,
        )
    ),
    loss_forward_mappings=dict(
        loss_dist=dict(
            logits_S=dict(from_student=True, recorder='fc'),
            logits_T=dict(from_student=False, recorder='fc'),
        )
    ),
)

# The second stage. To fill in: in_channel, out_channel. Where the strides
# differ too: kernel_size=3, stride=2, padding=1 halves the student's map;
# kernel_size=4, stride=2, padding=1, conv_cfg=dict(type='deconv') doubles it.
fitnet_distiller = dict(
    **_compared_maps,
    connectors=dict(
        stage=dict(type='mmtst.HintConnector', norm_cfg=dict(type='BN'))
    ),
    distill_losses=dict(
        loss_fitnet=dict(type='mmtst.MimicLoss', loss_weight=100.0)
    ),
    loss_forward_mappings=dict(
        loss_fitnet=dict(
            preds_S=dict(
                from_student=True,
                recorder='backbone',
                data_idx=1,
                connector='stage',
            ),
            preds_T=dict(from_student=False, recorder='backbone', data_idx=1),
        )
    ),
)
at_distiller = dict(
    **_compared_maps,
    distill_losses=dict(
        loss_at=dict(type='mmtst.AttentionTransferLoss', loss_weight=1000.0)
    ),
    loss_forward_mappings=dict(
        loss_at=dict(
            preds_S=dict(from_student=True, recorder='backbone'),
            preds_T=dict(from_student=False, recorder='backbone'),
        )
    ),
)
# To fill in: dim_in of both connectors; num_samples where the training set
# is none of CIFAR's. The samples need their index in it.
crd_distiller = dict(
    type='mmtst.DataAugmentationDistiller',
    student_recorders=_vectors,
    teacher_recorders=_vectors,
    connectors=dict(
        student=dict(type='mmrazor.CRDConnector', dim_out=128),
        teacher=dict(type='mmrazor.CRDConnector', dim_out=128),
    ),
    distill_losses=dict(
        loss_crd=dict(
            type='mmtst.CRDLoss',
            num_samples=50000,
            channels=128,
            num_negatives=16384,
            temperature=0.07,
            momentum=0.5,
            loss_weight=0.8,
        )
    ),
    loss_forward_mappings=dict(
        loss_crd=dict(
            preds_S=dict(
                from_student=True,
                recorder='neck',
                data_idx=-1,
                connector='student',
            ),
            preds_T=dict(
                from_student=False,
                recorder='neck',
                data_idx=-1,
                connector='teacher',
            ),
        )
    ),
)
# To fill in: in_channels, out_channels, with the pooled level at their end;
# out_sizes where the strides differ; loss_weight, by the pair.
reviewkd_distiller = dict(
    **_compared_maps,
    connectors=dict(stages=dict(type='mmtst.ReviewKDConnector', pooled=True)),
    distill_losses=dict(
        loss_reviewkd=dict(
            type='mmtst.WarmupLoss',
            epochs=20,
            loss=dict(type='mmtst.ReviewKDLoss', pooled=True, loss_weight=5.0),
        )
    ),
    loss_forward_mappings=dict(
        loss_reviewkd=dict(
            preds_S=dict(
                from_student=True, recorder='backbone', connector='stages'
            ),
            preds_T=dict(from_student=False, recorder='backbone'),
        )
    ),
)
