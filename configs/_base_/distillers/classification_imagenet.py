"""Distillers of image classifiers on ImageNet: scores are not softened."""

_base_ = './classification.py'

kd_distiller = dict(distill_losses=dict(loss_kl=dict(tau=1.0)))
dist_distiller = dict(distill_losses=dict(loss_dist=dict(tau=1.0)))
