"""Distillers of ``neck.py`` as they are set for two-stage detectors.

The fifth level of their necks is the fourth, subsampled: MGD and FGD leave it
out.
"""

_base_ = './neck.py'

pkd_distiller = dict(
    distill_losses=dict(loss_pkd=dict(loss=dict(loss_weight=6)))
)
mgd_distiller = dict(
    connectors=dict(neck=dict(num_levels=4, connector=dict(lambda_mgd=0.45))),
    distill_losses=dict(
        loss_mgd=dict(num_levels=4, loss=dict(alpha_mgd=5e-7))
    ),
)
fgd_distiller = dict(
    distill_losses=dict(
        loss_fgd=dict(
            num_levels=4, alpha=5e-5, beta=2.5e-5, gamma=5e-5, lambda_=5e-7
        )
    )
)
