"""Invert mmpretrain's losses on whole images: ``-log(1 - p_y)``, Eq. 2.

An image is a positive. With soft labels (mixup, CutMix, label smoothing in
the data) it is inverted class by class, weighted by the label: the reference
code takes every class of a soft label for the true one, which makes its
objective the mean over all classes.

Smoothing that the loss itself applies is left out: it moves a little of the
label to *wrong* classes, and to be wrong is what the student is to be.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmpretrain.models.losses import (
    AsymmetricLoss,
    CrossEntropyLoss,
    FocalLoss,
    LabelSmoothLoss,
    SeesawLoss,
)
from torch import Tensor, nn

from mmtst.models.objectives.classification_losses import inverted_softmax
from mmtst.models.objectives.inversion import (
    Arguments,
    InversionOptions,
    InvertedLoss,
    at_least_float32,
    register_inversion,
)

_OFFICIAL_EPS = 1e-8


def inverted_soft_labels(logits: Tensor, targets: Tensor) -> Tensor:
    """Return ``sum_c y_c (-log(1 - p_c)) / sum_c y_c`` under softmax.

    Args:
        logits: (B, C), C at least 2, float32 or float64.
        targets: (B, C), at least 0; the same in the place of a one-hot label
            is :func:`inverted_softmax`. A row of zeros gives 0.

    Returns:
        (B,), at least 0.
    """
    targets = targets.to(logits.dtype)
    highest = logits.detach().argmax(dim=1, keepdim=True)
    # Of all classes but the likeliest p_c is 1/2 at most, where log1p is
    # exact; the likeliest takes the form that stays finite at p_c = 1.
    scores = logits.softmax(dim=1).scatter(1, highest, 0.0)
    values = (-torch.log1p(-scores)).scatter(
        1, highest, inverted_softmax(logits, highest[:, 0])[:, None]
    )
    total = targets.sum(dim=1)
    return (targets * values).sum(dim=1) / total.where(total > 0, 1.0)


def _official(module: Any, arguments: Arguments, output: Tensor) -> Tensor:
    """Return the reference code's form, ``-log(1 - p_y + 1e-8)``.

    Soft labels, of which it takes all classes for true, weight it here too.
    """
    del output
    logits = at_least_float32(arguments['cls_score'])
    values = -torch.log(1 - logits.softmax(dim=1) + _OFFICIAL_EPS)
    targets = _targets(_labels(arguments), logits)
    return float(module.loss_weight) * (targets * values).sum(dim=1).mean()


@register_inversion(
    CrossEntropyLoss, LabelSmoothLoss, kind='cls', official=_official
)
@register_inversion(SeesawLoss, kind='cls')
def invert_image_cross_entropy(
    module: nn.Module, arguments: Arguments, options: InversionOptions
) -> InvertedLoss:
    """Invert a cross entropy over classes that exclude each other, or not.

    Under sigmoid every class of an image that is labelled with it is a
    positive of its own.

    Args:
        module: The loss. A seesaw loss is inverted without its factors,
            which make rare classes count more.
        arguments: ``cls_score`` (B, C), logits; ``label`` (or ``labels``):
            (B,), or (B, 1) long, or (B, C) scores; ``weight`` (B,) or
            ``None``.
        options: Not used.
    """
    del options
    logits = at_least_float32(arguments['cls_score'])
    labels = _labels(arguments)
    loss: Any = getattr(module, 'ce', module)
    weights = _weights(arguments['weight'], logits)
    table = getattr(loss, 'class_weight', None)
    if loss.use_sigmoid:
        return _invert_present(
            logits, _targets(labels, logits), weights, table
        )
    if _are_classes(labels):
        true = labels.flatten().long()
        values = inverted_softmax(logits, true)
    else:
        true = labels.argmax(dim=1)
        values = inverted_soft_labels(logits, labels)
        # An image without any label says nothing.
        weights = weights * (labels.sum(dim=1) > 0)
    if table is not None:
        weights = weights * (
            _targets(labels, logits) @ logits.new_tensor(table)
        )
    return InvertedLoss(
        values=values,
        weights=weights,
        top=logits.detach().argmax(dim=1) == true,
        key=true[:, None],
    )


@register_inversion(FocalLoss, AsymmetricLoss, kind='cls')
def invert_image_focal_loss(
    module: nn.Module, arguments: Arguments, options: InversionOptions
) -> InvertedLoss:
    """Invert a focal or asymmetric loss, without its factors.

    Args:
        module: The loss; an asymmetric one may have ``use_sigmoid=False``.
        arguments: ``pred`` (B, C), logits; ``target``: (B,) or (B, 1) long,
            or (B, C); ``weight`` (B,) or ``None``.
        options: Not used.
    """
    del options
    logits = at_least_float32(arguments['pred'])
    targets = _targets(arguments['target'], logits)
    weights = _weights(arguments['weight'], logits)
    if getattr(module, 'use_sigmoid', True):
        return _invert_present(logits, targets, weights, None)
    true = targets.argmax(dim=1)
    return InvertedLoss(
        values=inverted_soft_labels(logits, targets),
        weights=weights * (targets.sum(dim=1) > 0),
        top=logits.detach().argmax(dim=1) == true,
        key=true[:, None],
    )


def _invert_present(
    logits: Tensor, targets: Tensor, weights: Tensor, class_weight: Any
) -> InvertedLoss:
    """Invert, under sigmoid, each class that an image is labelled with."""
    rows, classes = torch.nonzero(targets > 0, as_tuple=True)
    picked = logits[rows, classes]
    weights = weights[rows] * targets[rows, classes].to(logits.dtype)
    if class_weight is not None:
        weights = weights * logits.new_tensor(class_weight)[classes]
    return InvertedLoss(
        values=F.softplus(picked),
        weights=weights,
        top=torch.ones_like(rows, dtype=torch.bool),
        score=picked.detach().sigmoid(),
        key=torch.stack([rows, classes], dim=1),
    )


def _labels(arguments: Arguments) -> Tensor:
    name = 'label' if 'label' in arguments else 'labels'
    labels: Tensor = arguments[name]
    return labels


def _are_classes(labels: Tensor) -> bool:
    """Tell class numbers from one score for each class."""
    return labels.dim() == 1 or labels.size(1) == 1


def _targets(labels: Tensor, logits: Tensor) -> Tensor:
    """Return labels as scores of classes (B, C), at least 0."""
    if _are_classes(labels):
        classes = labels.flatten().long()
        return F.one_hot(classes, logits.size(1)).to(logits.dtype)
    return labels.to(logits.dtype).clamp(min=0)


def _weights(weight: Tensor | None, logits: Tensor) -> Tensor:
    """Return the images' weights, (B,)."""
    if weight is None:
        return logits.new_ones(len(logits))
    return weight.detach().to(logits.dtype).reshape(-1)
