"""Distillers of segmentors: class scores of every position.

KD and DIST on the decode head and, with a third of its weight, on the
auxiliary head; ``*_decode`` for segmentors that have no auxiliary head, on
either side. CWD on the decode head, set as in mmrazor's own config. The heads
give (B, classes, h, w), before they are resized to the image.

Student and teacher of other strides need ``resize=True`` of the losses, as in
``pairs/cityscapes_segformer_pspnet.py``.
"""

_decode = dict(
    decode=dict(type='ModuleOutputs', source='decode_head.conv_seg')
)
_auxiliary = dict(
    auxiliary=dict(type='ModuleOutputs', source='auxiliary_head.conv_seg')
)
_decode_recorders = dict(
    type='mmtst.DataAugmentationDistiller',
    student_recorders=_decode,
    teacher_recorders=_decode,
)
_both_recorders = dict(
    type='mmtst.DataAugmentationDistiller',
    student_recorders=dict(**_decode, **_auxiliary),
    teacher_recorders=dict(**_decode, **_auxiliary),
)
_decode_mapping = dict(
    preds_S=dict(from_student=True, recorder='decode'),
    preds_T=dict(from_student=False, recorder='decode'),
)
_auxiliary_mapping = dict(
    preds_S=dict(from_student=True, recorder='auxiliary'),
    preds_T=dict(from_student=False, recorder='auxiliary'),
)
_kl = dict(loss_kl=dict(type='mmtst.DenseKLLoss', tau=1.0, loss_weight=1.5))
_kl_auxiliary = dict(
    loss_kl_aux=dict(type='mmtst.DenseKLLoss', tau=1.0, loss_weight=0.5)
)
# On a map as it is, mmrazor's loss would correlate along the wrong axes.
_dist = dict(
    loss_dist=dict(
        type='mmtst.LevelwiseLoss',
        form='rows',
        loss=dict(type='mmrazor.DISTLoss', tau=1.0, loss_weight=1.5),
    )
)
_dist_auxiliary = dict(
    loss_dist_aux=dict(
        type='mmtst.LevelwiseLoss',
        form='rows',
        loss=dict(type='mmrazor.DISTLoss', tau=1.0, loss_weight=0.5),
    )
)

kd_distiller = dict(
    **_both_recorders,
    distill_losses=dict(**_kl, **_kl_auxiliary),
    loss_forward_mappings=dict(
        loss_kl=_decode_mapping, loss_kl_aux=_auxiliary_mapping
    ),
)
kd_decode_distiller = dict(
    **_decode_recorders,
    distill_losses=_kl,
    loss_forward_mappings=dict(loss_kl=_decode_mapping),
)
dist_distiller = dict(
    **_both_recorders,
    distill_losses=dict(**_dist, **_dist_auxiliary),
    loss_forward_mappings=dict(
        loss_dist=_decode_mapping, loss_dist_aux=_auxiliary_mapping
    ),
)
dist_decode_distiller = dict(
    **_decode_recorders,
    distill_losses=_dist,
    loss_forward_mappings=dict(loss_dist=_decode_mapping),
)
cwd_distiller = dict(
    **_decode_recorders,
    distill_losses=dict(
        loss_cwd=dict(
            type='mmtst.LevelwiseLoss',
            loss=dict(
                type='mmrazor.ChannelWiseDivergence', tau=1, loss_weight=5
            ),
        )
    ),
    loss_forward_mappings=dict(loss_cwd=_decode_mapping),
)
