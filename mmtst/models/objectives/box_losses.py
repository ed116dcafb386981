"""Invert mmdet's box losses: ``-s (1 - exp(-L / s))`` per positive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from mmdet.models.losses import (
    BoundedIoULoss,
    CIoULoss,
    DIoULoss,
    DistributionFocalLoss,
    GIoULoss,
    IoULoss,
    L1Loss,
    SmoothL1Loss,
)
from mmdet.models.losses.gfocal_loss import distribution_focal_loss
from mmdet.models.losses.iou_loss import (
    bounded_iou_loss,
    ciou_loss,
    diou_loss,
    giou_loss,
    iou_loss,
)
from mmdet.models.losses.smooth_l1_loss import l1_loss, smooth_l1_loss
from torch import Tensor, nn

from mmtst.models.objectives.inversion import (
    Arguments,
    InversionOptions,
    InvertedLoss,
    at_least_float32,
    bounded_negative,
    register_inversion,
)

# A functional loss of mmdet and the module's attributes it takes.
_FUNCTIONS: dict[type, tuple[Callable[..., Any], tuple[str, ...]]] = {
    L1Loss: (l1_loss, ()),
    SmoothL1Loss: (smooth_l1_loss, ('beta',)),
    IoULoss: (iou_loss, ('mode', 'eps')),
    GIoULoss: (giou_loss, ('eps',)),
    DIoULoss: (diou_loss, ('eps',)),
    CIoULoss: (ciou_loss, ('eps',)),
    BoundedIoULoss: (bounded_iou_loss, ('beta', 'eps')),
    DistributionFocalLoss: (distribution_focal_loss, ()),
}


def negate_output(
    module: nn.Module, arguments: Arguments, output: Tensor
) -> Tensor:
    """Return ``-L`` as reduced by the module: the reference code's form."""
    del module, arguments
    return -output


@register_inversion(*_FUNCTIONS, kind='box', official=negate_output)
def invert_box_loss(
    module: nn.Module, arguments: Arguments, options: InversionOptions
) -> InvertedLoss:
    """Invert a regression loss per row with a positive weight.

    L is the row's loss, summed over the four coordinates where the loss is
    one per coordinate. A row is a box, for DistributionFocalLoss one side of
    a box. The row's weight is the mean of its coordinates' weights.

    Args:
        module: The loss.
        arguments: ``pred`` (N, ...), ``target`` (N, ...), ``weight`` (N,),
            (N, ...) or ``None`` (all ones).
        options: Gives ``s``.
    """
    pred = at_least_float32(arguments['pred'])
    target = at_least_float32(arguments['target'])
    weights = _row_weights(arguments.get('weight'), pred)
    rows = torch.nonzero(weights > 0).flatten()
    pred, target, weights = pred[rows], target[rows], weights[rows]
    losses = _losses(module, pred, target, arguments.get('kwargs') or {})
    return InvertedLoss(bounded_negative(losses, options.box_scale), weights)


def _row_weights(weight: Tensor | None, pred: Tensor) -> Tensor:
    """Return the weights of the rows, (N,), ones where none were given."""
    if weight is None:
        return pred.new_ones(len(pred))
    weight = weight.detach().to(pred.dtype)
    return weight if weight.dim() == 1 else weight.flatten(1).mean(dim=1)


def _losses(
    module: nn.Module, pred: Tensor, target: Tensor, extra: dict[str, Any]
) -> Tensor:
    """Return the module's loss of each row, (P,), before any weight."""
    if not len(pred):  # mmdet's functions differ in what they do here
        return pred.flatten(1).sum(dim=1) if pred.dim() > 1 else pred
    function, names = next(
        entry for cls, entry in _FUNCTIONS.items() if isinstance(module, cls)
    )
    options = {name: getattr(module, name) for name in names} | extra
    exact = None
    if isinstance(module, CIoULoss):
        # Where box and target are equal, its aspect term divides 0 by 0.
        exact = (pred == target).all(dim=-1)
        pred = torch.where(exact[:, None], pred + pred.new_tensor(1.0), pred)
    losses: Tensor = function(pred, target, reduction='none', **options)
    if exact is not None:
        losses = losses.masked_fill(exact, 0)
    return losses.flatten(1).sum(dim=1) if losses.dim() > 1 else losses
