"""Compare how two models classify their positives."""

from __future__ import annotations

import torch
from torch import Tensor

from mmtst.models.objectives.interception import LossInterceptor


def right_positives(
    interceptor: LossInterceptor, right_score: float
) -> Tensor:
    """Tell of each positive whether its class is predicted.

    Args:
        interceptor: Has seen the classification losses of one model.
        right_score: The score that the class must reach too where classes
            are scored independently (sigmoid), in [0, 1].

    Returns:
        (P,), bool, on the CPU; P positives of all calls, in order.
    """
    flags: list[Tensor] = []
    for _, inverted in interceptor.classified():
        right = inverted.top
        if right is None:
            continue
        if inverted.score is not None:
            right = right & (inverted.score >= right_score)
        flags.append(right[inverted.weights > 0].cpu())
    return torch.cat(flags) if flags else torch.zeros(0, dtype=torch.bool)


def same_positives(first: LossInterceptor, second: LossInterceptor) -> bool:
    """Tell whether two models classified the same positives, in order.

    RoIs are sampled for each model, so theirs never count as the same.
    """
    keys: list[list[Tensor]] = []
    for interceptor in (first, second):
        keys.append([])
        for call, inverted in interceptor.classified():
            if inverted.key is None or 'roi_head' in call.path.split('.'):
                return False
            keys[-1].append(inverted.key[inverted.weights > 0].cpu())
    return len(keys[0]) == len(keys[1]) and all(
        torch.equal(mine, other)
        for mine, other in zip(keys[0], keys[1], strict=True)
    )


def share(flags: Tensor) -> float | None:
    """Return the share of true flags, ``None`` where there are none."""
    return float(flags.float().mean()) if len(flags) else None
