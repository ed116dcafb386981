"""Check against plain loops over the formulas, in Python floats."""

from __future__ import annotations

import inspect
import math
from typing import Any

import pytest
import torch
from mmdet.models.losses import (
    CrossEntropyLoss,
    FocalLoss,
    QualityFocalLoss,
)
from mmdet.models.losses.cross_entropy_loss import CrossEntropyCustomLoss
from torch import Tensor, nn

from mmtst.models.objectives.classification_losses import (
    inverted_binary,
    inverted_softmax,
)
from mmtst.models.objectives.inversion import (
    InversionOptions,
    InvertedLoss,
    find_inversion,
)
from mmtst.utils.errors import ConfigError


def bind(loss: nn.Module, *args: Any, **kwargs: Any) -> dict[str, Any]:
    bound = inspect.signature(loss.forward).bind(*args, **kwargs)
    bound.apply_defaults()
    return bound.arguments


def invert(loss: nn.Module, *args: Any, **kwargs: Any) -> InvertedLoss:
    inversion = find_inversion(loss)
    assert inversion is not None
    assert inversion.kind == 'cls'
    return inversion.positives(
        loss, bind(loss, *args, **kwargs), InversionOptions()
    )


def official(loss: nn.Module, *args: Any, **kwargs: Any) -> Tensor:
    inversion = find_inversion(loss)
    assert inversion is not None
    assert inversion.official is not None
    arguments = bind(loss, *args, **kwargs)
    return inversion.official(loss, arguments, loss(*args, **kwargs))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def softmax(row: list[float]) -> list[float]:
    total = sum(math.exp(x) for x in row)
    return [math.exp(x) / total for x in row]


def random_logits(rows: int, classes: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(
        rows, classes, generator=generator, dtype=torch.float64
    )


# Softmax -------------------------------------------------------------------


def test_softmax_by_hand() -> None:
    # p = (1/2, 1/3, 1/6): -log(1 - 1/3) = log(3/2)
    logits = torch.tensor([[3.0, 2.0, 1.0]]).log()
    value = inverted_softmax(logits, torch.tensor([1]))
    assert value.item() == pytest.approx(math.log(1.5))


def test_softmax_takes_the_positives_and_their_weights() -> None:
    logits = random_logits(6, 4)
    labels = torch.tensor([0, 3, 2, 1, -1, 2])  # 3 is background
    weights = torch.tensor([1.0, 1.0, 0.5, 2.0, 1.0, 0.0])
    result = invert(CrossEntropyLoss(), logits, labels, weights)
    rows = [0, 2, 3, 5]
    expected = [
        -math.log(1 - softmax(logits[i].tolist())[int(labels[i])])
        for i in rows
    ]
    assert result.values.tolist() == pytest.approx(expected)
    assert result.weights.tolist() == [1.0, 0.5, 2.0, 0.0]
    assert result.score is None
    assert result.top is not None
    assert result.top.tolist() == [
        max(range(4), key=lambda c: logits[i, c].item()) == int(labels[i])
        for i in rows
    ]
    assert result.key is not None
    assert result.key.tolist() == [[i, int(labels[i])] for i in rows]


def test_softmax_ignores_an_index_and_weighs_classes() -> None:
    logits = random_logits(3, 3)
    labels = torch.tensor([0, 1, 0])
    loss = CrossEntropyLoss(class_weight=[2.0, 5.0, 7.0])
    assert invert(loss, logits, labels).weights.tolist() == [2.0, 5.0, 2.0]
    result = invert(loss, logits, labels, ignore_index=0)
    assert result.weights.tolist() == [5.0]


def test_softmax_of_a_subclass_with_the_same_forward() -> None:
    loss = CrossEntropyCustomLoss(num_classes=2)
    assert (
        len(invert(loss, random_logits(2, 3), torch.tensor([0, 2])).values)
        == 1
    )


@pytest.mark.parametrize('dtype', [torch.float16, torch.float32])
@pytest.mark.parametrize('size', [50.0, 500.0, 6e4])
def test_softmax_is_finite_at_extremes(
    size: float, dtype: torch.dtype
) -> None:
    logits = torch.tensor(
        [[size, -size, 0.0], [-size, size, 0.0]], dtype=dtype
    ).requires_grad_()
    result = invert(CrossEntropyLoss(), logits, torch.tensor([0, 0]))
    assert result.values.dtype == torch.float32
    assert result.values[0].item() == pytest.approx(logits[0, 0].item())
    assert result.values[1].item() == pytest.approx(0.0, abs=1e-6)
    (slope,) = torch.autograd.grad(result.values.sum(), logits)
    assert slope.isfinite().all()


def test_a_dense_map_is_refused() -> None:
    with pytest.raises(ConfigError, match='rows of class scores'):
        invert(
            CrossEntropyLoss(),
            torch.zeros(1, 3, 2, 2),
            torch.zeros(1, 2, 2, dtype=torch.long),
        )


def test_a_criterion_of_its_own_is_refused() -> None:
    loss = CrossEntropyLoss()
    loss.cls_criterion = torch.nn.functional.cross_entropy
    with pytest.raises(ConfigError, match='criterion'):
        invert(loss, random_logits(2, 3), torch.tensor([0, 1]))


# Sigmoid -------------------------------------------------------------------


def test_sigmoid_by_hand() -> None:
    # p = 3/4: -log(1 - 3/4) = log 4
    loss = CrossEntropyLoss(use_sigmoid=True)
    result = invert(loss, torch.tensor([[math.log(3.0)]]), torch.tensor([0]))
    assert result.values.item() == pytest.approx(math.log(4))
    assert result.score is not None
    assert result.score.item() == pytest.approx(0.75)


def test_sigmoid_takes_foreground_only() -> None:
    loss = CrossEntropyLoss(use_sigmoid=True)
    logits = random_logits(5, 1)
    labels = torch.tensor([0, 1, 0, 1, 0])  # 1 is background, as in an RPN
    weights = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0])
    result = invert(loss, logits, labels, weights, avg_factor=7)
    assert result.values.tolist() == pytest.approx(
        [-math.log(1 - sigmoid(logits[i].item())) for i in (0, 2, 4)]
    )
    assert result.weights.tolist() == [1.0, 1.0, 0.0]


def test_soft_targets_by_hand() -> None:
    # t = p = 1/2: L = log 2, -log(1 - 1/2) = log 2
    value = inverted_binary(torch.zeros(1), torch.full((1,), 0.5))
    assert value.item() == pytest.approx(math.log(2))


def test_centerness_takes_every_element() -> None:
    loss = CrossEntropyLoss(use_sigmoid=True, loss_weight=1.0)
    logits = random_logits(4, 1)[:, 0]
    targets = torch.tensor([0.2, 0.0, 1.0, 0.7])
    result = invert(loss, logits, targets, avg_factor=4)
    expected = []
    for x, t in zip(logits.tolist(), targets.tolist(), strict=True):
        p = sigmoid(x)
        cross_entropy = -(t * math.log(p) + (1 - t) * math.log(1 - p))
        expected.append(-math.log(1 - math.exp(-cross_entropy)))
    assert result.values.tolist() == pytest.approx(expected, rel=1e-6)
    assert result.top is None
    assert result.weights.tolist() == [1.0] * 4


def test_centerness_weights_and_ignored_elements() -> None:
    loss = CrossEntropyLoss(use_sigmoid=True, ignore_index=255)
    targets = torch.tensor([0.5, 255.0, 0.5])
    result = invert(
        loss, torch.zeros(3), targets, torch.tensor([1.0, 2.0, 3.0])
    )
    assert result.weights.tolist() == [1.0, 3.0]


def test_a_table_of_targets_counts_where_they_are_over_zero() -> None:
    loss = CrossEntropyLoss(use_sigmoid=True)
    targets = torch.tensor([[0.0, 1.0], [0.0, 0.0], [0.5, 0.0]])
    result = invert(
        loss,
        torch.zeros(3, 2),
        targets,
        torch.tensor([1.0, 2.0, 3.0]),
    )
    assert result.values.tolist() == pytest.approx([math.log(2)] * 2)
    assert result.weights.tolist() == [1.0, 3.0]


def test_soft_targets_are_highest_where_met_and_fall_both_ways() -> None:
    logits = torch.linspace(-6, 6, 121, dtype=torch.float64)
    values = inverted_binary(logits, torch.full_like(logits, 0.5))
    assert values.argmax().item() == 60
    assert (values[:60].diff() > 0).all()
    assert (values[60:].diff() < 0).all()


@pytest.mark.parametrize('target', [0.0, 1e-30, 1e-7, 0.3, 1 - 1e-7, 1.0])
def test_binary_is_finite_at_extremes(target: float) -> None:
    logits = torch.tensor([-6e4, -500.0, -50.0, 0.0, 50.0, 500.0, 6e4])
    logits.requires_grad_()
    values = inverted_binary(logits, torch.full_like(logits, target))
    (slope,) = torch.autograd.grad(values.sum(), logits)
    assert values.isfinite().all()
    assert slope.isfinite().all()
    assert (values >= 0).all()


# Mask ----------------------------------------------------------------------


def test_mask_means_over_the_pixels_of_each_roi() -> None:
    loss = CrossEntropyLoss(use_mask=True)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 2, 2, generator=generator, dtype=torch.float64)
    targets = torch.tensor(
        [[[0.0, 1.0], [1.0, 1.0]], [[0.0, 0.0], [0.0, 1.0]]]
    )
    labels = torch.tensor([2, 0])
    result = invert(loss, logits, targets, labels)
    for i in range(2):
        values = []
        for y in range(2):
            for x in range(2):
                p = sigmoid(logits[i, labels[i], y, x].item())
                inside = targets[i, y, x].item() == 1
                values.append(-math.log(1 - p if inside else p))
        assert result.values[i].item() == pytest.approx(sum(values) / 4)
    assert result.weights.tolist() == [1.0, 1.0]
    assert result.top is None


# Focal ---------------------------------------------------------------------


def test_focal_takes_positives_only_with_their_weights() -> None:
    logits = random_logits(5, 3)
    labels = torch.tensor([2, 3, 0, 3, 1])
    weights = torch.tensor([1.0, 1.0, 0.25, 1.0, 0.0])
    result = invert(FocalLoss(), logits, labels, weights, avg_factor=3)
    rows = [0, 2, 4]
    expected = [
        -math.log(1 - sigmoid(logits[i, labels[i]].item())) for i in rows
    ]
    assert result.values.tolist() == pytest.approx(expected)
    assert result.weights.tolist() == [1.0, 0.25, 0.0]
    assert result.score is not None
    assert result.score.tolist() == pytest.approx(
        [sigmoid(logits[i, labels[i]].item()) for i in rows]
    )


def test_negatives_have_no_gradient() -> None:
    logits = random_logits(3, 2).requires_grad_()
    result = invert(FocalLoss(), logits, torch.tensor([2, 1, 2]))
    (slope,) = torch.autograd.grad(result.values.sum(), logits)
    assert slope.nonzero().tolist() == [[1, 1]]


def test_focal_targets_and_weights_in_other_shapes() -> None:
    logits = random_logits(3, 2)
    one_hot = torch.tensor([[0, 1], [0, 0], [1, 0]])
    labels = torch.tensor([1, 2, 0])
    table = torch.arange(6.0).reshape(3, 2)
    plain = invert(FocalLoss(), logits, labels)
    same = invert(FocalLoss(), logits, one_hot, table)
    assert torch.equal(plain.values, same.values)
    assert same.weights.tolist() == [1.0, 4.0]
    flat = invert(FocalLoss(), logits, labels, table.flatten())
    assert flat.weights.tolist() == [1.0, 4.0]
    column = invert(FocalLoss(), logits, labels, torch.ones(3, 1))
    assert column.weights.tolist() == [1.0, 1.0]


def test_activated_scores() -> None:
    logits = random_logits(3, 2)
    labels = torch.tensor([1, 2, 0])
    plain = invert(FocalLoss(), logits, labels)
    scores = invert(FocalLoss(activated=True), logits.sigmoid(), labels)
    assert scores.values.tolist() == pytest.approx(plain.values.tolist())
    certain = torch.ones(1, 1, requires_grad=True)
    result = invert(FocalLoss(activated=True), certain, torch.tensor([0]))
    (slope,) = torch.autograd.grad(result.values.sum(), certain)
    assert result.values.isfinite().all()
    assert slope.isfinite().all()


def test_quality_focal_takes_labels_from_the_pair() -> None:
    logits = random_logits(4, 2)
    labels = torch.tensor([0, 2, 1, 2])
    quality = torch.tensor([0.9, 0.0, 0.0, 0.0])
    weights = torch.tensor([0.5, 1.0, 1.0, 1.0])
    result = invert(
        QualityFocalLoss(), logits, (labels, quality), weight=weights
    )
    expected = [
        -math.log(1 - sigmoid(logits[i, labels[i]].item())) for i in (0, 2)
    ]
    assert result.values.tolist() == pytest.approx(expected)
    assert result.weights.tolist() == [0.5, 1.0]


@pytest.mark.parametrize(
    'loss',
    [
        FocalLoss(),
        QualityFocalLoss(),
        CrossEntropyLoss(),
        CrossEntropyLoss(use_sigmoid=True),
    ],
    ids=lambda loss: f'{type(loss).__name__}-{loss.use_sigmoid}',
)
def test_a_worse_student_has_a_lower_inverted_loss(loss: nn.Module) -> None:
    """And the task loss itself runs the other way."""
    labels = torch.tensor([1])
    target: Any = labels
    if isinstance(loss, QualityFocalLoss):
        target = (labels, torch.ones(1))
    inverted, plain = [], []
    for logit in torch.linspace(-50, 50, 41).tolist():
        row = torch.tensor([[0.0, logit, 0.0, 0.0]], requires_grad=True)
        value = invert(loss, row, target).values.sum()
        (slope,) = torch.autograd.grad(value, row)
        assert slope[0, 1] >= 0
        inverted.append(value.item())
        plain.append(loss(row, target).item())
    assert all(
        a < b for a, b in zip(inverted[20:], inverted[21:], strict=False)
    )
    assert all(a <= b for a, b in zip(inverted, inverted[1:], strict=False))
    assert plain[0] > plain[20] > plain[40] - 1e-12
    assert all(math.isfinite(value) for value in inverted)


@pytest.mark.parametrize('loss', [FocalLoss(), CrossEntropyLoss()])
def test_no_positives_give_an_empty_tensor_with_a_graph(
    loss: nn.Module,
) -> None:
    logits = random_logits(2, 3).requires_grad_()
    background = 3 if isinstance(loss, FocalLoss) else 2
    result = invert(loss, logits, torch.full((2,), background))
    assert result.values.shape == (0,)
    (slope,) = torch.autograd.grad(result.values.sum(), logits)
    assert not slope.any()


# The reference code's forms --------------------------------------------------


def test_official_softmax_inverts_background_too() -> None:
    loss = CrossEntropyLoss(loss_weight=2.0)
    logits = random_logits(4, 3)
    labels = torch.tensor([0, 2, 1, 2])
    weights = torch.tensor([1.0, 0.5, 1.0, 0.0])
    value = official(loss, logits, labels, weights, avg_factor=5.0)
    expected = 0.0
    for i in range(4):
        p = softmax(logits[i].tolist())[int(labels[i])]
        expected -= weights[i].item() * math.log(1 - p + 1e-10)
    assert value.item() == pytest.approx(2 * expected / 5, rel=1e-6)


def test_official_sigmoid_inverts_background_too() -> None:
    loss = CrossEntropyLoss(use_sigmoid=True)
    logits = random_logits(3, 1)
    labels = torch.tensor([0, 1, 1])
    weights = torch.tensor([1.0, 1.0, 0.0])
    value = official(loss, logits, labels, weights, avg_factor=2.0)
    p, q = (sigmoid(x) for x in logits[:2, 0].tolist())
    expected = -(math.log(1 - p) + math.log(q)) / 2
    assert value.item() == pytest.approx(expected, rel=1e-6)


def test_official_centerness() -> None:
    loss = CrossEntropyLoss(use_sigmoid=True)
    logits = random_logits(2, 1)[:, 0]
    targets = torch.tensor([0.25, 0.75])
    value = official(loss, logits, targets, avg_factor=2.0)
    expected = 0.0
    for x, t in zip(logits.tolist(), targets.tolist(), strict=True):
        p = sigmoid(x)
        expected -= t * math.log(1 - p) + (1 - t) * math.log(p)
    assert value.item() == pytest.approx(expected / 2, rel=1e-6)


def test_official_mask() -> None:
    loss = CrossEntropyLoss(use_mask=True)
    logits = random_logits(1, 2).reshape(1, 1, 2, 1)
    targets = torch.tensor([[[1.0], [0.0]]])
    value = official(loss, logits, targets, torch.tensor([0]))
    p, q = (sigmoid(x) for x in logits.flatten().tolist())
    expected = -(math.log(1 - p) + math.log(q)) / 2
    assert value.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize('activated', [False, True])
def test_official_focal_is_a_plain_mean_over_all(activated: bool) -> None:
    loss = FocalLoss(loss_weight=3.0, activated=activated)
    logits = random_logits(2, 3)
    labels = torch.tensor([1, 3])
    pred = logits.sigmoid() if activated else logits
    value = official(
        loss, pred, labels, torch.tensor([0.5, 0.0]), avg_factor=9.0
    )
    expected = 0.0
    for i in range(2):
        for c in range(3):
            p = sigmoid(logits[i, c].item())
            if c == int(labels[i]):
                expected -= 0.25 * p**2 * math.log(1 - p)
            else:
                expected -= 0.75 * (1 - p) ** 2 * math.log(p)
    assert value.item() == pytest.approx(3 * expected / 6, rel=1e-6)
