"""Invert mmseg's losses of regions, and say which losses have no inverse.

A region loss is one number for an image, or for a batch: of the overlap of
what is predicted and what is labelled. Its inverse is that number's bounded
negative, ``-s (1 - exp(-L / s))``. Images without any label are no positives:
these losses give them a number of their own, 0 or 1, whatever is predicted.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from mmseg.models.losses import (
    BoundaryLoss,
    DiceLoss,
    HuasdorffDisstanceLoss,
    LovaszLoss,
    SiLogLoss,
    TverskyLoss,
)
from mmseg.models.losses.kldiv_loss import KLDivLoss
from torch import Tensor, nn

from mmtst.models.objectives.inversion import (
    Arguments,
    InversionOptions,
    InvertedLoss,
    at_least_float32,
    bounded_negative,
    refuse_inversion,
    register_inversion,
)
from mmtst.models.objectives.pixels import divided_by, labelled
from mmtst.utils.compat import mend_segmentation_losses

refuse_inversion(
    BoundaryLoss,
    reason='it is of edge maps, which are not warped with the image and tell '
    'no classes apart; leave the boundary head out of the student',
)
refuse_inversion(
    HuasdorffDisstanceLoss,
    reason='it grows with distances that no gradient reaches and knows '
    'foreground only; take a Dice or Lovasz loss for regions',
)
refuse_inversion(
    KLDivLoss,
    reason='it compares two predictions, of which neither is the truth',
)
refuse_inversion(
    SiLogLoss,
    reason='it is of depths, which an augmentation that warps changes',
)


def _over_valid(module: Any, arguments: Arguments, output: Tensor) -> Tensor:
    """Return the loss as averaged over images and pixels that are labelled."""
    del output
    values, divisor = _values(module, arguments, 'valid')
    total: Tensor = values.sum() / (divisor or 1.0)
    return total * float(module.loss_weight)


@register_inversion(
    DiceLoss, TverskyLoss, LovaszLoss, kind='cls', valid=_over_valid
)
def invert_region_loss(
    module: nn.Module, arguments: Arguments, options: InversionOptions
) -> InvertedLoss:
    """Invert a loss of regions: one positive per image with a label.

    A Lovasz loss over the batch is one positive, if any pixel is labelled.
    With ``average='loss'`` all images are positives, and Dice counts what is
    predicted on pixels to be ignored, as the loss does.

    Args:
        module: The loss.
        arguments: ``pred`` or ``cls_score`` (N, C, H, W), logits; ``target``
            or ``label``, (N, H, W), long, for Dice also (N, C, H, W).
        options: Gives ``s`` and ``average``.
    """
    values, divisor = _values(module, arguments, options.average)
    return InvertedLoss(
        bounded_negative(values, options.box_scale),
        torch.ones_like(values),
        divisor=values.new_tensor(divisor),
    )


def _values(
    module: Any, arguments: Arguments, average: str
) -> tuple[Tensor, float]:
    """Return a module's losses before its weight, and their divisor.

    Args:
        module: The loss.
        arguments: Those of its ``forward``.
        average: As in ``GapObjective``.

    Returns:
        (P,) losses, one per image or one; and what their sum is divided by:
        what the loss divides by, under ``valid`` the share of it that stands
        for images with a label.
    """
    lovasz = isinstance(module, LovaszLoss)
    logits = at_least_float32(arguments['cls_score' if lovasz else 'pred'])
    labels = arguments['label' if lovasz else 'target']
    valid = _labelled(module, arguments, logits, labels)
    plain = copy.copy(module)  # Hooks and weight are the module's own.
    plain.loss_weight = 1.0
    mend_segmentation_losses(plain)
    whole = lovasz and not module.per_image
    parts = [slice(None)]
    if not whole:
        parts = [slice(i, i + 1) for i in range(len(valid))]
    seen = torch.stack([valid[part].any() for part in parts])
    values = [
        _loss(plain, logits[part], labels[part], valid[part], average)
        for part, any_valid in zip(parts, seen.tolist(), strict=True)
        if any_valid or average == 'loss'
    ]
    divisor, share = float(len(parts)), sum(seen.tolist()) / len(parts)
    if not whole and not isinstance(module, TverskyLoss):
        divisor, share = divided_by(module, arguments, seen)
    return (
        torch.stack(values) if values else logits.flatten()[:0],
        divisor * (share if average == 'valid' else 1),
    )


def _labelled(
    module: Any, arguments: Arguments, logits: Tensor, labels: Tensor
) -> Tensor:
    """Tell which pixels a loss of regions has a label for, (N, H, W)."""
    if isinstance(module, TverskyLoss):
        return labelled(labels, module.ignore_index)
    if isinstance(module, LovaszLoss):
        extra = arguments.get('kwargs') or {}
        return labelled(labels, extra.get('ignore_index', 255))
    if labels.shape == logits.shape:
        return torch.ones_like(labels[:, 0], dtype=torch.bool)
    # Dice leaves out a class of its own beside; what is no class is dropped.
    left_out: Tensor = labels == module.ignore_index
    valid = labelled(labels, arguments['ignore_index']) & ~left_out
    return valid & (labels < max(logits.size(1), 2))


def _loss(
    plain: Any, logits: Tensor, labels: Tensor, valid: Tensor, average: str
) -> Tensor:
    """Return the loss of an image, or of a batch, as a scalar.

    Args:
        plain: The loss module, with a weight of 1 and without hooks.
        logits: (N, C, H, W); N is 1, but for a Lovasz loss over the batch.
        labels: (N, H, W), or (N, C, H, W).
        valid: (N, H, W), bool.
        average: Under ``valid`` what Dice sees on pixels without a label is
            put to 0; the others look at no such pixel anyway.
    """
    forward = type(plain).forward
    if isinstance(plain, LovaszLoss):
        value = forward(
            plain,
            logits,
            # What has no label may have been told by the caller's number.
            labels.masked_fill(~valid, 255),
            reduction_override='none',
        )
    elif isinstance(plain, TverskyLoss):
        value = forward(plain, logits, labels)
    elif average == 'loss' or labels.shape == logits.shape:
        value = forward(plain, logits, labels, reduction_override='none')
    else:
        scores = logits
        if plain.activate and plain.use_sigmoid:
            scores = logits.sigmoid()
        elif plain.activate and logits.size(1) > 1:
            scores = logits.softmax(dim=1)
        bare = copy.copy(plain)
        bare.activate = False
        value = forward(
            bare,
            scores * valid.unsqueeze(1),
            labels.masked_fill(~valid, logits.size(1)),
            reduction_override='none',
        )
    loss: Tensor = value.sum()
    return loss
