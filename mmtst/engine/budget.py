"""Hold the mean rate of application, so that a search decides on which.

An operator's rate is how often its gate opens, which the gate's form decides:
``sigmoid(th_p)`` under the default, less or more under the papers' forms.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmtst.augmentation.base import Policy
from mmtst.augmentation.gates import GateForm, application_rate


def mean_rate(policy: Policy, form: GateForm = 'logit') -> float:
    """Return the mean rate of application over the 14 operators."""
    theta = policy.th_p.detach().double()
    return float(application_rate(theta, form).mean())


def reachable_rates(
    limit: float, form: GateForm = 'logit'
) -> tuple[float, float]:
    """Return the least and the largest mean rate within a clamp.

    Args:
        limit: The bound on every parameter.
        form: Of the gates.
    """
    ends = torch.tensor([-limit, limit], dtype=torch.float64)
    low, high = application_rate(ends, form).tolist()
    return low, high


def with_mean_rate(
    policy: Policy, rate: float, limit: float, form: GateForm = 'logit'
) -> Policy:
    """Shift all probability parameters alike until their mean rate is right.

    Finds c with ``mean(rate(clamp(th_p + c, -limit, limit))) = rate`` by
    bisection; the left side grows with c.

    Args:
        policy: ``th_p`` (14,), ``th_m`` (11,).
        rate: The mean rate wanted, between the ``reachable_rates``.
        limit: The bound on every parameter.
        form: Of the gates.

    Returns:
        A policy with the same ``th_m``, its mean rate within 1e-6 of
        ``rate``.
    """
    theta = policy.th_p.detach().double()
    low = -limit - float(theta.max())
    high = limit - float(theta.min())
    for _ in range(60):
        middle = (low + high) / 2
        shifted = (theta + middle).clamp(-limit, limit)
        if float(application_rate(shifted, form).mean()) < rate:
            low = middle
        else:
            high = middle
    shifted = (theta + (low + high) / 2).clamp(-limit, limit)
    return Policy(shifted.to(policy.th_p), policy.th_m.detach().clone())


def tangent_gradient(
    gradient: Tensor, policy: Policy, form: GateForm = 'logit'
) -> Tensor:
    """Take out of a gradient what would change the mean rate.

    Args:
        gradient: (25,), ``th_p`` first.
        policy: Where the gradient was taken.
        form: Of the gates.

    Returns:
        (25,), orthogonal to the slope of the mean rate in ``th_p``.
    """
    theta = policy.th_p.detach().to(gradient).requires_grad_()
    with torch.enable_grad():
        total = application_rate(theta, form).sum()
    (normal,) = torch.autograd.grad(total, theta)
    th_p, th_m = gradient[: len(theta)], gradient[len(theta) :]
    along = (th_p @ normal) / (normal @ normal)
    return torch.cat([th_p - along * normal, th_m])
