"""Invert mmseg's losses of single pixels: ``-log(1 - p_y)`` where labelled.

A pixel is a positive if it has a label. Pixels to be ignored are neither in
the sum nor, unless the objective's ``average`` is ``loss``, in the divisor: a
warp moves content out of view and has what comes in ignored, so that a mean
over all pixels would pay the search for emptying images.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmseg.models.losses import (
    CrossEntropyLoss,
    FocalLoss,
    OhemCrossEntropy,
)
from mmseg.models.losses.cross_entropy_loss import (
    binary_cross_entropy,
    cross_entropy,
)
from torch import Tensor, nn

from mmtst.models.objectives.classification_losses import inverted_binary
from mmtst.models.objectives.inversion import (
    Arguments,
    InversionOptions,
    InvertedLoss,
    at_least_float32,
    register_inversion,
)
from mmtst.models.objectives.pixels import (
    divided_by,
    invert_pixels,
    labelled,
    pixel_weights,
)
from mmtst.utils.compat import (
    mended_binary_cross_entropy,
    mended_cross_entropy,
)
from mmtst.utils.errors import ConfigError

_OFFICIAL_EPS = 1e-10
_FORMS: dict[Any, str] = {
    cross_entropy: 'softmax',
    mended_cross_entropy: 'softmax',
    binary_cross_entropy: 'sigmoid',
    mended_binary_cross_entropy: 'sigmoid',
}


def _official_cross_entropy(
    module: Any, arguments: Arguments, output: Tensor
) -> Tensor:
    """Return the reference code's form: a mean over N, C, H and W.

    ``-log(1 - p_y + 1e-10)`` at the label, 0 at all other classes and at
    pixels to be ignored, which count in the mean.
    """
    del output
    if _form(module) != 'softmax':
        raise ConfigError(
            'The reference code has no inverted form of a sigmoid cross '
            'entropy on label maps',
            where=f'student.*.{type(module).__name__}.use_sigmoid',
            got="mode='official'",
            fix="use mode='default'",
        )
    logits, labels = at_least_float32(arguments['cls_score']), _map(arguments)
    valid = labelled(labels, arguments['ignore_index'])
    true = labels.masked_fill(~valid, 0).long().unsqueeze(1)
    scores = F.softmax(logits, dim=1).gather(1, true).squeeze(1)[valid]
    losses = -torch.log(1 - scores + _OFFICIAL_EPS)
    weights = pixel_weights(
        arguments['weight'], module.class_weight, logits, labels, valid
    )
    total: Tensor = (losses * weights).sum() / logits.numel()
    return total * float(module.loss_weight)


def _cross_entropy_over_valid(
    module: Any, arguments: Arguments, output: Tensor
) -> Tensor:
    """Return the output as averaged over the pixels that have a label."""
    form = _FORMS.get(module.cls_criterion)
    if form is None or (form == 'softmax' and _by_class(module, arguments)):
        return output
    valid = labelled(arguments['label'], arguments['ignore_index'])
    return output / (divided_by(module, arguments, valid)[1] or 1.0)


def _focal_over_valid(
    module: Any, arguments: Arguments, output: Tensor
) -> Tensor:
    """Return the output as averaged over the pixels that have a label."""
    valid = labelled(_focal_labels(arguments), arguments['ignore_index'])
    return output / (divided_by(module, arguments, valid)[1] or 1.0)


@register_inversion(
    CrossEntropyLoss,
    kind='cls',
    official=_official_cross_entropy,
    valid=_cross_entropy_over_valid,
)
def invert_pixel_cross_entropy(
    module: nn.Module, arguments: Arguments, options: InversionOptions
) -> InvertedLoss:
    """Invert mmseg's cross entropy: softmax, sigmoid or binary.

    Softmax and sigmoid: positives are the pixels with a label. Weights are
    the pixels' own (a sampler of hard examples gives some) times the class
    weights. Divided as the loss divides: by the pixels, by the class weights
    of those with a label, and under sigmoid by the channels too, of which
    the label's is one. Binary (one channel, or a target for each element):
    positives are the elements with a target over 0, divided by their weights
    so that images without any win nothing, and by the channels.

    Args:
        module: The loss.
        arguments: ``cls_score`` (N, C, H, W), (N, C, P) at points, or (N, C)
            with ``label`` of the same shape; ``label`` without C, long;
            ``weight`` of the label's shape or ``None``; ``ignore_index``.
        options: Gives ``average``.

    Raises:
        ConfigError: If the criterion is not one of pixels, or the labels are
            those of rows (queries, with a background).
    """
    form, logits = _form(module), at_least_float32(arguments['cls_score'])
    labels, weight = arguments['label'], arguments['weight']
    if form == 'sigmoid' and logits.size(1) == 1:
        return _invert_elements(module, arguments, logits.squeeze(1), options)
    if form == 'sigmoid' and logits.dim() == labels.dim():
        return _invert_elements(module, arguments, logits, options)
    labels = _map(arguments)
    valid = labelled(labels, arguments['ignore_index'])
    weights = pixel_weights(weight, module.class_weight, logits, labels, valid)
    softmax = form == 'softmax'
    divisor: Tensor | float
    if softmax and _by_class(module, arguments):
        divisor = pixel_weights(
            None, module.class_weight, logits, labels, valid
        ).sum()
    else:
        channels = 1 if softmax else logits.size(1)
        divisor, share = divided_by(module, arguments, valid, channels)
        divisor *= share if options.average == 'valid' else 1
    return invert_pixels(
        logits, labels, valid, weights, divisor, softmax, weight is not None
    )


@register_inversion(FocalLoss, kind='cls', valid=_focal_over_valid)
def invert_pixel_focal_loss(
    module: nn.Module, arguments: Arguments, options: InversionOptions
) -> InvertedLoss:
    """Invert mmseg's focal loss: ``-log(1 - p_y)`` at the label's channel.

    The other channels, and the factors that favour the hard, are left out:
    absent classes would be most of the objective. Divided as the loss
    divides, by pixels and channels; with one channel by the positives, the
    pixels of label 1.

    Args:
        module: The loss.
        arguments: ``pred`` (N, C, ...), logits; ``target`` (N, ...), long, or
            (N, C, ...), of which the highest is the label; ``weight``, one
            or C for each pixel, in the order of the pixels, or ``None``;
            ``ignore_index``.
        options: Gives ``average``.
    """
    logits, labels = at_least_float32(arguments['pred']), arguments['target']
    labels, weight = _focal_labels(arguments), arguments['weight']
    valid = chosen = labelled(labels, arguments['ignore_index'])
    binary = logits.size(1) == 1
    if binary:
        chosen = valid & (labels > 0)
        labels = torch.zeros_like(labels)
    if weight is not None and weight.numel() > labels.numel():
        true = labels.masked_fill(~chosen, 0).long().reshape(-1, 1)
        weight = weight.reshape(len(true), -1).gather(1, true)
    weights = pixel_weights(
        weight, module.class_weight, logits, labels, chosen
    )
    divisor: Tensor | float
    divisor, share = divided_by(module, arguments, valid, logits.size(1))
    if options.average == 'valid':
        divisor = weights.sum() if binary else divisor * share
    return invert_pixels(
        logits, labels, chosen, weights, divisor, False, weight is not None
    )


@register_inversion(OhemCrossEntropy, kind='cls')
def invert_ohem_cross_entropy(
    module: nn.Module, arguments: Arguments, options: InversionOptions
) -> InvertedLoss:
    """Invert a cross entropy that mines hard pixels, without the mining.

    What it mines, the pixels of which the student is least sure, are those
    that it gets wrong already: there the inverted loss has faded, and the
    pixels to be made hard are the others. So all pixels with a label count.
    The loss divides by the pixels that it has kept, whatever their class
    weights, none of them to be ignored: the two averages agree.

    Args:
        module: The loss; gives ``ignore_label``.
        arguments: ``score`` (N, C, H, W), ``target`` (N, H, W), long.
        options: Not used.
    """
    del options
    logits, labels = at_least_float32(arguments['score']), arguments['target']
    ignored: Any = module.ignore_label
    valid = labelled(labels, ignored)
    weights = pixel_weights(None, module.class_weight, logits, labels, valid)
    return invert_pixels(
        logits, labels, valid, weights, float(valid.sum()), True
    )


def _form(module: nn.Module) -> str:
    """Return which of mmseg's cross entropies of pixels a module computes."""
    criterion: Any = module.cls_criterion
    if criterion not in _FORMS:
        raise ConfigError(
            'A cross entropy has a criterion that is not one of pixels',
            where=f'student.*.{type(module).__name__}',
            got=getattr(criterion, '__name__', criterion),
            allowed='cross_entropy, binary_cross_entropy',
            fix='leave out use_mask, or register an inversion for the class',
        )
    return _FORMS[criterion]


def _by_class(module: Any, arguments: Arguments) -> bool:
    """Tell whether a softmax loss divides by the pixels' class weights."""
    return (
        module.class_weight is not None
        and arguments['avg_factor'] is None
        and (arguments['reduction_override'] or module.reduction) == 'mean'
    )


def _map(arguments: Arguments) -> Tensor:
    """Return the labels of a cross entropy on pixels or points."""
    labels: Tensor = arguments['label']
    logits = arguments['cls_score']
    if labels.dim() < 2 or labels.dim() + 1 != logits.dim():
        raise ConfigError(
            'A cross entropy of mmseg is inverted on label maps only',
            where='student.*.CrossEntropyLoss',
            got=f'predictions {tuple(logits.shape)} with labels '
            f'{tuple(labels.shape)}',
            allowed='(N, C, H, W) with (N, H, W), (N, C, P) with (N, P)',
            fix='register an inversion for the class',
        )
    return labels


def _focal_labels(arguments: Arguments) -> Tensor:
    """Return the labels of a focal loss, (N, ...), as it reads them."""
    target: Tensor = arguments['target']
    if target.shape != arguments['pred'].shape:
        return target
    if target.size(1) == 1:
        return (target > 0).long().squeeze(1)
    return target.argmax(dim=1)


def _invert_elements(
    module: nn.Module,
    arguments: Arguments,
    logits: Tensor,
    options: InversionOptions,
) -> InvertedLoss:
    """Invert a binary cross entropy with a target for every element."""
    targets, weight = arguments['label'], arguments['weight']
    valid = labelled(targets, arguments['ignore_index'])
    positive = valid & (targets > 0)
    weights = torch.ones_like(logits)
    if weight is not None:
        weights = weights * weight.to(logits.dtype)
    if module.class_weight is not None:
        of_classes = logits.new_tensor(module.class_weight)
        of_classes = of_classes.view(-1, *[1] * (logits.dim() - 2))
        weights = weights * of_classes
    weights = weights.detach()[positive]
    table = logits.dim() == arguments['cls_score'].dim()
    divisor = logits.new_tensor(divided_by(module, arguments, valid)[0])
    if options.average == 'valid':
        divisor = weights.sum() * (logits.size(1) if table else 1)
    values = inverted_binary(logits[positive], targets[positive])
    if table:
        return InvertedLoss(values, weights, divisor=divisor)
    picked = logits.detach()[positive]
    return InvertedLoss(
        values,
        weights,
        # Of one class nothing is asked but the score.
        top=torch.ones_like(picked, dtype=torch.bool),
        score=picked.sigmoid(),
        key=torch.nonzero(positive.flatten()).int(),
        divisor=divisor,
    )
