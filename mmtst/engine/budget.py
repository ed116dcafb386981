"""Hold the mean rate of application, so that a search decides on which."""

from __future__ import annotations

import torch
from torch import Tensor

from mmtst.augmentation.base import Policy


def mean_rate(policy: Policy) -> float:
    """Return the mean of ``sigmoid(th_p)`` over the 14 operators."""
    return float(policy.probabilities.detach().double().mean())


def with_mean_rate(policy: Policy, rate: float, limit: float) -> Policy:
    """Shift all probability parameters alike until their mean rate is right.

    Finds c with ``mean(sigmoid(clamp(th_p + c, -limit, limit))) = rate`` by
    bisection; the left side grows with c.

    Args:
        policy: ``th_p`` (14,), ``th_m`` (11,).
        rate: The mean rate wanted, between ``sigmoid(-limit)`` and
            ``sigmoid(limit)``.
        limit: The bound on every parameter.

    Returns:
        A policy with the same ``th_m``, its mean rate within 1e-6 of
        ``rate``.
    """
    theta = policy.th_p.detach().double()
    low = -limit - float(theta.max())
    high = limit - float(theta.min())
    for _ in range(60):
        middle = (low + high) / 2
        shifted = torch.sigmoid((theta + middle).clamp(-limit, limit))
        if float(shifted.mean()) < rate:
            low = middle
        else:
            high = middle
    shifted = (theta + (low + high) / 2).clamp(-limit, limit)
    return Policy(shifted.to(policy.th_p), policy.th_m.detach().clone())


def tangent_gradient(gradient: Tensor, policy: Policy) -> Tensor:
    """Take out of a gradient what would change the mean rate.

    Args:
        gradient: (25,), ``th_p`` first.
        policy: Where the gradient was taken.

    Returns:
        (25,), with ``sum(p (1 - p) * result[:14]) = 0``.
    """
    rates = policy.probabilities.detach().to(gradient)
    normal = rates * (1 - rates)
    th_p, th_m = gradient[: len(rates)], gradient[len(rates) :]
    along = (th_p @ normal) / (normal @ normal)
    return torch.cat([th_p - along * normal, th_m])
