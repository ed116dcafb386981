"""Invert mmdet's classification losses: ``-log(1 - p_y)`` on positives."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models.losses import (
    CrossEntropyLoss,
    FocalLoss,
    QualityFocalLoss,
)
from mmdet.models.losses.cross_entropy_loss import (
    binary_cross_entropy,
    cross_entropy,
    mask_cross_entropy,
)
from mmdet.models.losses.utils import weight_reduce_loss
from torch import Tensor, nn

from mmtst.models.objectives.inversion import (
    Arguments,
    InversionOptions,
    InvertedLoss,
    at_least_float32,
    register_inversion,
)
from mmtst.utils.errors import ConfigError

_OFFICIAL_EPS = 1e-10


def inverted_softmax(logits: Tensor, labels: Tensor) -> Tensor:
    """Return ``-log(1 - p_y)`` under softmax.

    It is ``log(1 + exp(z_y - z))``, ``z`` the log-sum-exp over all classes
    but ``y``, so it stays finite as ``p_y`` nears 1, and exact as it nears 0.

    Args:
        logits: (P, C) or (P, C, ...), C at least 2.
        labels: (P,) or (P, ...), long, in [0, C).

    Returns:
        The shape of the labels, at least 0.
    """
    labels = labels.unsqueeze(1)
    true = logits.gather(1, labels).squeeze(1)
    others = logits.scatter(1, labels, float('-inf')).logsumexp(dim=1)
    return -F.logsigmoid(others - true)


def inverted_binary(logits: Tensor, targets: Tensor) -> Tensor:
    """Return ``-log(1 - exp(-L))``, L the binary cross entropy.

    For a target of 0 or 1 this is the cross entropy against the other one;
    for a soft target it is highest where the prediction equals the target.

    Args:
        logits: Any shape.
        targets: Same shape, in [0, 1].
    """
    targets = targets.to(logits.dtype)
    losses = F.binary_cross_entropy_with_logits(
        logits, targets, reduction='none'
    )
    tiny = torch.finfo(losses.dtype).tiny
    soft = -torch.log(-torch.expm1(-losses.clamp(min=tiny)))
    hard = F.binary_cross_entropy_with_logits(
        logits, 1 - targets, reduction='none'
    )
    is_hard = (targets == 0) | (targets == 1)
    return torch.where(is_hard, hard, soft)


def _official_cross_entropy(
    module: Any, arguments: Arguments, output: Tensor
) -> Tensor:
    """Return the reference code's form, background included."""
    del output
    logits = at_least_float32(arguments['cls_score'])
    labels, weight = arguments['label'], arguments['weight']
    reduction = arguments['reduction_override'] or module.reduction
    avg_factor = arguments['avg_factor']
    if _form(module) == 'mask':
        chosen = logits[_range(logits), weight]
        losses, weight = _official_binary(chosen, labels), None
    elif _form(module) == 'softmax':
        labels = labels.long()
        true = F.softmax(logits, dim=1).gather(1, labels[:, None])
        losses = -torch.log(1 - true[:, 0] + _OFFICIAL_EPS)
    elif logits.dim() == labels.dim():
        losses = _official_binary(logits, labels)
    else:
        classes = F.one_hot(labels.clamp(0), logits.size(1) + 1)
        losses = _official_binary(logits, classes[:, :-1])
        weight = None if weight is None else weight.view(-1, 1)
    reduced: Tensor = weight_reduce_loss(losses, weight, reduction, avg_factor)
    return reduced * float(module.loss_weight)


def _official_binary(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the binary cross entropy against the inverted prediction."""
    scores = logits.sigmoid()
    return -(
        targets * torch.log(1 - scores + _OFFICIAL_EPS)
        + (1 - targets) * torch.log(scores + _OFFICIAL_EPS)
    )


def _official_focal(
    module: Any, arguments: Arguments, output: Tensor
) -> Tensor:
    """Return the reference code's form: a plain mean over all elements.

    ``alpha p^gamma (-log(1 - p))`` for positives and ``(1 - alpha)
    (1 - p)^gamma (-log p)`` for all others; weights and the average factor
    are ignored, as they are there.
    """
    del output
    logits, target = at_least_float32(arguments['pred']), arguments['target']
    if target.dim() != logits.dim():
        target = F.one_hot(target.long(), logits.size(1) + 1)[:, :-1]
    positive = target > 0
    if module.activated:
        scores = logits
        log_true = torch.log(scores + _OFFICIAL_EPS)
        log_false = torch.log(1 - scores + _OFFICIAL_EPS)
    else:
        scores = logits.sigmoid()
        log_true = F.logsigmoid(logits)
        log_false = F.logsigmoid(-logits)
    losses = torch.where(
        positive,
        -module.alpha * scores**module.gamma * log_false,
        -(1 - module.alpha) * (1 - scores) ** module.gamma * log_true,
    )
    reduction = arguments['reduction_override'] or module.reduction
    reduced: Tensor = weight_reduce_loss(losses, None, reduction, None)
    return reduced * float(module.loss_weight)


@register_inversion(
    CrossEntropyLoss, kind='cls', official=_official_cross_entropy
)
def invert_cross_entropy(
    module: nn.Module, arguments: Arguments, options: InversionOptions
) -> InvertedLoss:
    """Invert a cross entropy: softmax, sigmoid or mask.

    Softmax: positives are rows whose label is not the last class, which is
    mmdet's background. Sigmoid: rows with a label among the columns; where
    the targets have the shape of the predictions (centerness), every element
    that is not ignored. Mask: each RoI, its value the mean over its pixels.

    Args:
        module: The loss.
        arguments: ``cls_score`` (N, C), (N,) or (N, C, h, w); ``label``;
            ``weight``, which is the classes for masks.
        options: Not used.

    Raises:
        ConfigError: If the predictions are a dense map under softmax, or
            the module has a criterion of its own.
    """
    del options
    logits = at_least_float32(arguments['cls_score'])
    labels, weight = arguments['label'], arguments['weight']
    form = _form(module)
    if form == 'mask':
        chosen = logits[_range(logits), weight]
        values = inverted_binary(chosen, labels).flatten(1).mean(dim=1)
        return InvertedLoss(values, values.new_ones(len(values)))
    ignored = arguments['ignore_index']
    ignored = module.ignore_index if ignored is None else ignored
    valid = labels >= 0
    if ignored is not None:
        valid = valid & (labels != ignored)
    if form == 'sigmoid' and logits.dim() == labels.dim():
        return _invert_elements(logits, labels, weight, valid)
    if logits.dim() != 2:
        raise ConfigError(
            'Cross entropy is inverted on rows of class scores only',
            where='student.*.CrossEntropyLoss',
            got=f'predictions of shape {tuple(logits.shape)}',
            allowed='shape (N, C)',
            fix="set on_escape='bounded_negative', or register an inversion",
        )
    classes = logits.size(1) - (1 if form == 'softmax' else 0)
    rows = torch.nonzero(valid & (labels < classes)).flatten()
    chosen, true = logits[rows], labels[rows].long()
    weights = _row_weights(weight, logits, rows, true)
    if module.class_weight is not None:
        weights = weights * weights.new_tensor(module.class_weight)[true]
    picked = chosen.gather(1, true[:, None])[:, 0]
    top = picked.detach() >= chosen.detach().amax(dim=1)
    key = torch.stack([rows, true], dim=1)
    if form == 'softmax':
        values = inverted_softmax(chosen, true)
        return InvertedLoss(values, weights, top, None, key)
    values = F.softplus(picked)
    return InvertedLoss(values, weights, top, picked.detach().sigmoid(), key)


@register_inversion(FocalLoss, kind='cls', official=_official_focal)
@register_inversion(QualityFocalLoss, kind='cls')
def invert_focal_loss(
    module: nn.Module, arguments: Arguments, options: InversionOptions
) -> InvertedLoss:
    """Invert a focal loss: ``-log(1 - p_y)`` on positives only.

    With the negatives, and the factors that favour them, the background
    would be the whole objective.

    Args:
        module: The loss.
        arguments: ``pred`` (N, C), logits, or scores if the module is
            ``activated``; ``target``: labels (N,), scores (N, C), or the
            pair (labels (N,), qualities (N,)); ``weight`` (N,), (N, 1),
            (N, C) or ``None``.
        options: Not used.
    """
    del options
    pred, target = at_least_float32(arguments['pred']), arguments['target']
    labels = target if isinstance(target, Tensor) else target[0]
    if labels.dim() == pred.dim():
        present, best = labels.max(dim=1)
        labels = best.masked_fill(present <= 0, pred.size(1))
    rows = torch.nonzero((labels >= 0) & (labels < pred.size(1))).flatten()
    chosen, true = pred[rows], labels[rows].long()
    picked = chosen.gather(1, true[:, None])[:, 0]
    if getattr(module, 'activated', False):
        eps = torch.finfo(picked.dtype).eps
        values = -torch.log1p(-picked.clamp(max=1 - eps))
        score = picked.detach()
    else:
        values = F.softplus(picked)
        score = picked.detach().sigmoid()
    return InvertedLoss(
        values=values,
        weights=_row_weights(arguments['weight'], pred, rows, true),
        top=picked.detach() >= chosen.detach().amax(dim=1),
        score=score,
        key=torch.stack([rows, true], dim=1),
    )


def _form(module: nn.Module) -> str:
    """Return which of mmdet's three cross entropies a module computes."""
    forms: dict[Any, str] = {
        cross_entropy: 'softmax',
        binary_cross_entropy: 'sigmoid',
        mask_cross_entropy: 'mask',
    }
    criterion = module.cls_criterion
    if criterion not in forms:
        raise ConfigError(
            "A cross entropy has a criterion that is not mmdet's",
            where=f'student.*.{type(module).__name__}',
            got=criterion,
            allowed='cross_entropy, binary_cross_entropy, mask_cross_entropy',
            fix='register an inversion for the class',
        )
    return forms[criterion]


def _invert_elements(
    logits: Tensor, targets: Tensor, weight: Tensor | None, valid: Tensor
) -> InvertedLoss:
    """Invert a binary cross entropy with a target for every prediction.

    In a vector each element is a positive of its own (centerness is computed
    for positives only); in a table those with a target over 0 are.
    """
    if logits.dim() > 1:
        valid = valid & (targets > 0)
    weights = torch.ones_like(logits) if weight is None else weight
    if weights.dim() < logits.dim():
        weights = weights.unsqueeze(-1)
    weights = weights.detach().to(logits.dtype).expand_as(logits)
    return InvertedLoss(
        inverted_binary(logits[valid], targets[valid]), weights[valid]
    )


def _row_weights(
    weight: Tensor | None, pred: Tensor, rows: Tensor, labels: Tensor
) -> Tensor:
    """Return the weights of some rows at their labels, (P,)."""
    if weight is None:
        return pred.new_ones(len(rows))
    weight = weight.detach().to(pred.dtype)
    if weight.numel() == len(pred):
        return weight.reshape(-1)[rows]
    return weight.reshape(pred.shape)[rows, labels]


def _range(rows: Tensor) -> Tensor:
    """Return 0 .. N - 1 on the device of the rows."""
    return torch.arange(len(rows), device=rows.device)
