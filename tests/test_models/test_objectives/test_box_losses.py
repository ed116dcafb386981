"""Check against the losses' formulas for one pair of boxes at a time."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
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
from torch import Tensor, nn

from mmtst.models.objectives.inversion import (
    InversionOptions,
    InvertedLoss,
    find_inversion,
)

Box = Sequence[float]


def invert(
    loss: nn.Module, *args: Any, scale: float = 1.0, **kwargs: Any
) -> InvertedLoss:
    inversion = find_inversion(loss)
    assert inversion is not None
    assert inversion.kind == 'box'
    bound = inspect.signature(loss.forward).bind(*args, **kwargs)
    bound.apply_defaults()
    return inversion.positives(loss, bound.arguments, InversionOptions(scale))


def l1(a: Box, b: Box) -> float:
    return sum(abs(x - y) for x, y in zip(a, b, strict=True))


def smooth(difference: float, beta: float) -> float:
    size = abs(difference)
    return 0.5 * size**2 / beta if size < beta else size - 0.5 * beta


def smooth_l1(a: Box, b: Box) -> float:
    return sum(smooth(x - y, 0.5) for x, y in zip(a, b, strict=True))


def area(box: Box) -> float:
    return max(box[2] - box[0], 0) * max(box[3] - box[1], 0)


def iou(a: Box, b: Box) -> float:
    shared = (*map(max, a[:2], b[:2]), *map(min, a[2:], b[2:]))
    return area(shared) / (area(a) + area(b) - area(shared))


def hull(a: Box, b: Box) -> Box:
    return (*map(min, a[:2], b[:2]), *map(max, a[2:], b[2:]))


def giou(a: Box, b: Box) -> float:
    shared = (*map(max, a[:2], b[:2]), *map(min, a[2:], b[2:]))
    union = area(a) + area(b) - area(shared)
    return 1 - iou(a, b) + (area(hull(a, b)) - union) / area(hull(a, b))


def diou(a: Box, b: Box) -> float:
    around = hull(a, b)
    diagonal = (around[2] - around[0]) ** 2 + (around[3] - around[1]) ** 2
    apart = sum(
        ((a[i] + a[i + 2]) / 2 - (b[i] + b[i + 2]) / 2) ** 2 for i in (0, 1)
    )
    return 1 - iou(a, b) + apart / diagonal


def ciou(a: Box, b: Box) -> float:
    angle = [math.atan((x[2] - x[0]) / (x[3] - x[1])) for x in (a, b)]
    v = 4 / math.pi**2 * (angle[1] - angle[0]) ** 2
    alpha = v / (1 - iou(a, b) + v) if iou(a, b) > 0.5 else 0.0
    return diou(a, b) + alpha * v


def bounded_iou(a: Box, b: Box) -> float:
    total, eps = 0.0, 1e-3
    for i in (0, 1):
        size, target = a[i + 2] - a[i], b[i + 2] - b[i]
        apart = abs((b[i] + b[i + 2]) / 2 - (a[i] + a[i + 2]) / 2)
        center = max((target - 2 * apart) / (target + 2 * apart + eps), 0)
        length = min(target / (size + eps), size / (target + eps))
        total += smooth(1 - center, 0.2) + smooth(1 - length, 0.2)
    return total


CASES: list[tuple[nn.Module, Callable[[Box, Box], float]]] = [
    (L1Loss(), l1),
    (SmoothL1Loss(beta=0.5), smooth_l1),
    (IoULoss(), lambda a, b: -math.log(iou(a, b))),
    (IoULoss(mode='linear'), lambda a, b: 1 - iou(a, b)),
    (IoULoss(mode='square'), lambda a, b: 1 - iou(a, b) ** 2),
    (GIoULoss(), giou),
    (DIoULoss(), diou),
    (CIoULoss(), ciou),
    (BoundedIoULoss(), bounded_iou),
]
IDS = [
    f'{type(loss).__name__}-{getattr(loss, "mode", "")}' for loss, _ in CASES
]


def overlapping_boxes(count: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(count, 2, generator=generator, dtype=torch.float64)
    sizes = 3 + torch.rand(count, 2, generator=generator, dtype=torch.float64)
    target = torch.cat([corners, corners + sizes], dim=1)
    noise = torch.randn(count, 4, generator=generator, dtype=torch.float64)
    scale = torch.linspace(0.05, 0.6, count, dtype=torch.float64)
    return target + scale[:, None] * noise, target


@pytest.mark.parametrize(
    ('loss', 'expected'),
    [
        (L1Loss(), 2.0),
        (SmoothL1Loss(beta=0.5), 1.5),
        (IoULoss(), math.log(3)),
        (IoULoss(mode='linear'), 2 / 3),
        (GIoULoss(), 2 / 3),
        (DIoULoss(), 2 / 3 + 1 / 13),
        (CIoULoss(), 2 / 3 + 1 / 13),
        (BoundedIoULoss(), 0.9),
    ],
    ids=lambda value: type(value).__name__,
)
def test_by_hand(loss: nn.Module, expected: float) -> None:
    """Two 2 x 2 boxes, one shifted right by 1.

    They share 2 of 6: IoU 1/3, and fill their hull. Centers are 1 apart, the
    hull's diagonal is 3^2 + 2^2. Bounded IoU: the x center scores 0, the
    other three terms vanish, 1 - 0.2 / 2 remains.
    """
    pred = torch.tensor([[1.0, 0.0, 3.0, 2.0]])
    target = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    value = invert(loss, pred, target).values.item()
    assert value == pytest.approx(-(1 - math.exp(-expected)), abs=1e-5)


@pytest.mark.parametrize(('loss', 'oracle'), CASES, ids=IDS)
@pytest.mark.parametrize('scale', [1.0, 0.3])
def test_follows_the_formula(
    loss: nn.Module, oracle: Callable[[Box, Box], float], scale: float
) -> None:
    pred, target = overlapping_boxes()
    result = invert(loss, pred, target, scale=scale)
    expected = [
        -scale * (1 - math.exp(-oracle(a, b) / scale))
        for a, b in zip(pred.tolist(), target.tolist(), strict=True)
    ]
    assert result.values.tolist() == pytest.approx(expected, rel=1e-5)
    assert result.weights.tolist() == [1.0] * 12
    assert result.top is None


@pytest.mark.parametrize(('loss', 'oracle'), CASES, ids=IDS)
def test_rows_without_weight_are_left_out(
    loss: nn.Module, oracle: Callable[[Box, Box], float]
) -> None:
    pred, target = overlapping_boxes(4)
    weight = torch.tensor([0.0, 2.0, 0.0, 0.5], dtype=torch.float64)
    everything = invert(loss, pred, target)
    for weights in (weight, weight[:, None].expand(4, 4)):
        result = invert(loss, pred, target, weights, avg_factor=3.0)
        assert torch.allclose(result.values, everything.values[[1, 3]])
        assert result.weights.tolist() == [2.0, 0.5]


@pytest.mark.parametrize(('loss', 'oracle'), CASES, ids=IDS)
def test_a_worse_box_has_a_lower_inverted_loss(
    loss: nn.Module, oracle: Callable[[Box, Box], float]
) -> None:
    target = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    values = []
    for shift in (0.05, 0.2, 1.0, 2.0, 4.0):
        pred = (target + shift).requires_grad_()
        value = invert(loss, pred, target).values.sum()
        (slope,) = torch.autograd.grad(value, pred)
        assert (slope.sum() <= 0) and (shift > 2 or slope.sum() < 0)
        values.append(value.item())
    assert values == sorted(values, reverse=True)
    assert values[0] > values[2] > values[-1] - 1e-6
    assert min(values) >= -1


@pytest.mark.parametrize(('loss', 'oracle'), CASES, ids=IDS)
@pytest.mark.parametrize('dtype', [torch.float16, torch.float32])
def test_finite_at_extremes(
    loss: nn.Module, oracle: Callable[[Box, Box], float], dtype: torch.dtype
) -> None:
    target = torch.tensor([[0.0, 0.0, 100.0, 50.0]] * 4, dtype=dtype)
    pred = torch.tensor(
        [
            [0.0, 0.0, 100.0, 50.0],  # exact
            [900.0, 900.0, 901.0, 901.0],  # far away
            [0.0, 0.0, 0.0, 0.0],  # empty
            [6e4, 6e4, 6e4, 6e4],
        ],
        dtype=dtype,
    ).requires_grad_()
    result = invert(loss, pred, target)
    assert result.values.dtype == torch.float32
    (slope,) = torch.autograd.grad(result.values.sum(), pred)
    assert result.values.isfinite().all()
    assert slope.isfinite().all()
    assert result.values[0].item() == pytest.approx(0.0, abs=1e-3)
    assert result.values[1].item() < -0.6


@pytest.mark.parametrize(('loss', 'oracle'), CASES, ids=IDS)
def test_no_positives_give_an_empty_tensor_with_a_graph(
    loss: nn.Module, oracle: Callable[[Box, Box], float]
) -> None:
    pred = torch.rand(3, 4, requires_grad=True)
    result = invert(loss, pred, torch.rand(3, 4), torch.zeros(3, 4))
    assert result.values.shape == (0,)
    (slope,) = torch.autograd.grad(result.values.sum(), pred)
    assert not slope.any()


@pytest.mark.parametrize(('loss', 'oracle'), CASES, ids=IDS)
def test_official_is_the_plain_negative(
    loss: nn.Module, oracle: Callable[[Box, Box], float]
) -> None:
    inversion = find_inversion(loss)
    assert inversion is not None
    assert inversion.official is not None
    pred, target = overlapping_boxes()
    output = loss(pred, target, avg_factor=2.0)
    assert torch.equal(inversion.official(loss, {}, output), -output)


def test_distribution_focal_by_hand() -> None:
    # Uniform over 4 bins: L = log 4 wherever the label lies; 1 - 1/4.
    result = invert(
        DistributionFocalLoss(), torch.zeros(2, 4), torch.tensor([0.3, 2.0])
    )
    assert result.values.tolist() == pytest.approx([-0.75, -0.75])


def test_distribution_focal_counts_each_side() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0.25, 1.0, 2.5, 0.0, 1.9])
    weights = torch.tensor([1.0, 0.5, 0.0, 2.0, 1.0])
    result = invert(
        DistributionFocalLoss(), logits, labels, weight=weights, avg_factor=4
    )
    expected = []
    for i in (0, 1, 3, 4):
        row, label = logits[i].tolist(), labels[i].item()
        total = math.log(sum(math.exp(x) for x in row))
        left = int(label)
        loss = (left + 1 - label) * (total - row[left])
        loss += (label - left) * (total - row[left + 1])
        expected.append(-(1 - math.exp(-loss)))
    assert result.values.tolist() == pytest.approx(expected, rel=1e-6)
    assert result.weights.tolist() == [1.0, 0.5, 2.0, 1.0]
