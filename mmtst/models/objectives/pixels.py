"""Invert the scores of single pixels, and divide as mmseg's losses do."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmtst.models.objectives.classification_losses import inverted_softmax
from mmtst.models.objectives.inversion import Arguments, InvertedLoss


def labelled(labels: Tensor, ignored: int | None) -> Tensor:
    """Tell which pixels have a label; bool, the shape of the labels.

    Args:
        labels: Any shape; under 0 is no label.
        ignored: Another label that is none.
    """
    valid = labels >= 0
    return valid if ignored is None else valid & (labels != ignored)


def divided_by(
    module: Any, arguments: Arguments, valid: Tensor, channels: int = 1
) -> tuple[float, float]:
    """Return what a loss divides its sum by, and how much of that is valid.

    Args:
        module: The loss, with ``reduction`` and maybe ``avg_non_ignore``.
        arguments: The call's ``reduction_override`` and ``avg_factor``.
        valid: Which pixels have a label; bool, any shape.
        channels: How many values the loss averages for each pixel.

    Returns:
        The divisor, at least 0; a map that is not reduced counts as its
        mean, which is what a training makes of it. And the share of it that
        stands for pixels with a label, in [0, 1]: 1 where the loss counts no
        others, or its caller has chosen the divisor.
    """
    if arguments['avg_factor'] is not None:
        return float(arguments['avg_factor']), 1.0
    count = int(valid.sum())
    reduction = arguments['reduction_override'] or module.reduction
    if reduction == 'mean' and getattr(module, 'avg_non_ignore', False):
        return float(count * channels), 1.0
    share = count / max(valid.numel(), 1)
    if reduction == 'sum':
        return 1.0, share
    return float(valid.numel() * channels), share


def pixel_weights(
    weight: Tensor | None,
    class_weight: Any,
    logits: Tensor,
    labels: Tensor,
    chosen: Tensor,
) -> Tensor:
    """Return the weights of some pixels, (P,): their own times the class's.

    Args:
        weight: One for each pixel, in the labels' order, or ``None``.
        class_weight: C numbers, or ``None``.
        logits: (N, C, ...); of their type the weights are.
        labels: (N, ...), in [0, C) where chosen.
        chosen: (N, ...), bool, with P of them.
    """
    if weight is None:
        weights = logits.new_ones(int(chosen.sum()))
    else:
        weight = weight.detach().to(logits.dtype)
        weights = weight.reshape(labels.shape)[chosen]
    if class_weight is not None:
        table = logits.new_tensor(class_weight)
        weights = weights * table[labels[chosen].long()]
    return weights


def invert_pixels(
    logits: Tensor,
    labels: Tensor,
    chosen: Tensor,
    weights: Tensor,
    divisor: Tensor | float,
    softmax: bool,
    sampled: bool = False,
) -> InvertedLoss:
    """Invert the scores of some pixels at their labels: ``-log(1 - p_y)``.

    Half a million pixels of a crop are not gathered into rows of scores: of
    the logits one copy is made.

    Args:
        logits: (N, C, ...), float32 or float64.
        labels: (N, ...), in [0, C) where chosen.
        chosen: (N, ...), bool, with P of them.
        weights: (P,).
        divisor: What their weighted sum is divided by.
        softmax: Whether the classes exclude each other.
        sampled: Whether the weights choose among the pixels. Another model's
            may be others, so they are matched by position too.
    """
    true = labels.masked_fill(~chosen, 0).long()
    picked = logits.gather(1, true.unsqueeze(1)).squeeze(1)
    values = inverted_softmax(logits, true) if softmax else F.softplus(picked)
    picked = picked.detach()
    key = None
    if labels.dim() == 3:  # Points are drawn for each model anew.
        key = true[chosen].to(torch.int16).unsqueeze(1)
        if sampled:
            places = torch.nonzero(chosen.flatten()).int()
            key = torch.cat([places, key.int()], dim=1)
    return InvertedLoss(
        values=values[chosen],
        weights=weights,
        top=(picked >= logits.detach().amax(dim=1))[chosen],
        score=None if softmax else picked[chosen].sigmoid(),
        key=key,
        divisor=torch.as_tensor(divisor).to(logits),
    )
