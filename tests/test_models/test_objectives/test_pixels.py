"""Check against plain loops over pixels, in Python floats."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from mmtst.models.objectives.pixels import (
    divided_by,
    invert_pixels,
    labelled,
    pixel_weights,
)

LABELS = torch.tensor([[[0, 2, 255], [1, -1, 2]]])


def maps(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(1, 3, 2, 3, generator=generator).double()


def test_what_has_a_label() -> None:
    assert labelled(LABELS, 255).tolist() == [
        [[True, True, False], [True, False, True]]
    ]
    assert int(labelled(LABELS, None).sum()) == 5
    assert int(labelled(LABELS, 2).sum()) == 3


@pytest.mark.parametrize(
    ('reduction', 'options', 'expected'),
    [
        ('mean', {}, (8.0, 0.75)),
        ('none', {}, (8.0, 0.75)),
        ('sum', {}, (1.0, 0.75)),
        ('mean', dict(avg_non_ignore=True), (6.0, 1.0)),
        ('sum', dict(avg_non_ignore=True), (1.0, 0.75)),
    ],
)
def test_what_a_loss_divides_by(
    reduction: str, options: dict[str, Any], expected: tuple[float, float]
) -> None:
    module = SimpleNamespace(reduction=reduction, **options)
    valid = torch.tensor([True, True, False, True])
    arguments: dict[str, Any] = dict(reduction_override=None, avg_factor=None)
    assert divided_by(module, arguments, valid, 2) == expected
    arguments['avg_factor'] = 5
    assert divided_by(module, arguments, valid, 2) == (5.0, 1.0)
    arguments = dict(reduction_override='sum', avg_factor=None)
    assert divided_by(module, arguments, valid) == (1.0, 0.75)


def test_no_pixel_at_all_has_a_share_of_nothing() -> None:
    arguments = dict(reduction_override=None, avg_factor=None)
    module = SimpleNamespace(reduction='mean')
    assert divided_by(module, arguments, torch.zeros(4).bool()) == (4.0, 0.0)
    assert divided_by(module, arguments, torch.zeros(0).bool()) == (0.0, 0.0)


def test_weights_of_pixels_and_classes() -> None:
    chosen = labelled(LABELS, 255)
    own = torch.tensor([[[1.0, 0.5, 9.0], [0.0, 9.0, 2.0]]])
    logits = maps()
    weights = pixel_weights(own, [2.0, 3.0, 4.0], logits, LABELS, chosen)
    assert weights.tolist() == [2.0, 2.0, 0.0, 8.0]
    assert weights.dtype == logits.dtype
    ones = pixel_weights(None, None, logits, LABELS, chosen)
    assert ones.tolist() == [1.0] * 4


@pytest.mark.parametrize('softmax', [True, False])
def test_values_pixel_by_pixel(softmax: bool) -> None:
    logits, chosen = maps(), labelled(LABELS, 255)
    result = invert_pixels(
        logits, LABELS, chosen, torch.ones(4).double(), 7.0, softmax
    )
    values, tops, labels, scores = [], [], [], []
    for row in range(2):
        for column in range(3):
            label = int(LABELS[0, row, column])
            if label not in (0, 1, 2):
                continue
            pixel = logits[0, :, row, column].tolist()
            exponentials = [math.exp(x) for x in pixel]
            score = exponentials[label] / sum(exponentials)
            if not softmax:
                score = 1 / (1 + math.exp(-pixel[label]))
            values.append(-math.log(1 - score))
            tops.append(max(pixel) == pixel[label])
            labels.append([label])
            scores.append(score)
    assert result.values.tolist() == pytest.approx(values)
    assert result.top is not None and result.top.tolist() == tops
    assert result.key is not None and result.key.tolist() == labels
    assert result.key.dtype == torch.int16
    assert result.divisor is not None and result.divisor.item() == 7.0
    if softmax:
        assert result.score is None
    else:
        assert result.score is not None
        assert result.score.tolist() == pytest.approx(scores)


def test_sampled_pixels_are_matched_by_position() -> None:
    chosen = labelled(LABELS, 255)
    weights = torch.tensor([1.0, 0.0, 1.0, 1.0])
    result = invert_pixels(
        maps(), LABELS, chosen, weights, 4.0, True, sampled=True
    )
    assert result.key is not None
    assert result.key.tolist() == [[0, 0], [1, 2], [3, 1], [5, 2]]


def test_points_are_matched_with_none() -> None:
    result = invert_pixels(
        maps().flatten(2),
        torch.tensor([[0, 1, 2, 0, 1, 2]]),
        torch.ones(1, 6).bool(),
        torch.ones(6),
        6.0,
        True,
    )
    assert result.key is None and result.top is not None
    assert len(result.top) == 6


@pytest.mark.parametrize('size', [50.0, 6e4])
@pytest.mark.parametrize('softmax', [True, False])
def test_it_is_finite_at_extremes(size: float, softmax: bool) -> None:
    logits = torch.tensor([size, -size, 0.0]).reshape(1, 3, 1, 1)
    logits = logits.expand(1, 3, 1, 2).clone().requires_grad_()
    labels = torch.tensor([[[0, 1]]])
    result = invert_pixels(
        logits, labels, labels >= 0, torch.ones(2), 2.0, softmax
    )
    assert result.values.tolist() == pytest.approx([size, 0.0], abs=1e-6)
    (slope,) = torch.autograd.grad(result.values.sum(), logits)
    assert slope.isfinite().all()
    # Making the label likelier costs; making another one likelier pays.
    assert slope[0, 0, 0, 0] > 0 and (slope[0, 1:, 0, 0] <= 0).all()
