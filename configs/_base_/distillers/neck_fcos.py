"""Distillers of ``neck.py`` as they are set for FCOS, which has no anchors."""

_base_ = './neck.py'

fgd_distiller = dict(
    distill_losses=dict(
        loss_fgd=dict(
            tau=0.8, alpha=1.6e-3, beta=8e-4, gamma=8e-4, lambda_=8e-6
        )
    )
)
