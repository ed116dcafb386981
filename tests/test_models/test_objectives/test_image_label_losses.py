"""Check against plain loops over the formulas, in Python floats."""

import inspect
import math

import pytest
import torch
from mmpretrain.models.losses import (
    AsymmetricLoss,
    CrossEntropyLoss,
    FocalLoss,
    LabelSmoothLoss,
    SeesawLoss,
)

from mmtst.models.objectives.image_label_losses import inverted_soft_labels
from mmtst.models.objectives.inversion import (
    InversionOptions,
    find_inversion,
)


def bind(loss, *args, **kwargs):
    bound = inspect.signature(loss.forward).bind(*args, **kwargs)
    bound.apply_defaults()
    return bound.arguments


def invert(loss, *args, **kwargs):
    return find_inversion(loss).positives(
        loss, bind(loss, *args, **kwargs), InversionOptions()
    )


def softmax(row):
    total = sum(math.exp(x) for x in row)
    return [math.exp(x) / total for x in row]


def random_logits(rows=5, classes=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(
        rows, classes, generator=generator, dtype=torch.float64
    )


LABELS = torch.tensor([0, 3, 1, 1, 2])
# Mixup of two classes each, and one label that is hard.
SOFT = torch.tensor(
    [
        [0.3, 0.7, 0, 0],
        [0, 0.5, 0.5, 0],
        [0, 0, 0, 1],
        [0.9, 0, 0, 0.1],
        [0.2, 0.3, 0.1, 0.4],
    ],
    dtype=torch.float64,
)
SOFTMAX = [
    CrossEntropyLoss(),
    CrossEntropyLoss(use_soft=True),
    LabelSmoothLoss(0.1, num_classes=4),
    LabelSmoothLoss(0.1, num_classes=4, mode='classy_vision'),
]


def test_soft_labels_by_hand():
    # p = (1/2, 1/3, 1/6): .25 log 2 + .75 log(3/2)
    logits = torch.tensor([[3.0, 2.0, 1.0]]).log()
    value = inverted_soft_labels(logits, torch.tensor([[0.25, 0.75, 0]]))
    assert value.item() == pytest.approx(
        0.25 * math.log(2) + 0.75 * math.log(1.5)
    )


@pytest.mark.parametrize('loss', SOFTMAX, ids=repr)
def test_soft_labels_weight_each_class(loss):
    logits = random_logits()
    inverted = invert(loss, logits, SOFT)
    for row, target, value in zip(
        logits.tolist(), SOFT.tolist(), inverted.values.tolist(), strict=True
    ):
        expected = sum(
            y * -math.log(1 - p)
            for y, p in zip(target, softmax(row), strict=True)
        )
        assert value == pytest.approx(expected)
    likeliest = [max(range(4), key=row.__getitem__) for row in logits.tolist()]
    true = [max(range(4), key=row.__getitem__) for row in SOFT.tolist()]
    assert inverted.top.tolist() == [
        a == b for a, b in zip(likeliest, true, strict=True)
    ]
    assert inverted.weights.tolist() == [1] * 5


@pytest.mark.parametrize('loss', [SOFTMAX[0], *SOFTMAX[2:]], ids=repr)
def test_hard_labels_are_one_hot_ones(loss):
    logits = random_logits()
    one_hot = torch.nn.functional.one_hot(LABELS, 4).double()
    hard = invert(loss, logits, LABELS)
    for labels in (LABELS[:, None], one_hot):
        other = invert(loss, logits, labels)
        assert torch.allclose(hard.values, other.values)
        assert torch.equal(hard.top, other.top)
        assert torch.equal(hard.key, other.key)
    for row, label, value in zip(
        logits.tolist(), LABELS.tolist(), hard.values.tolist(), strict=True
    ):
        assert value == pytest.approx(-math.log(1 - softmax(row)[label]))


def test_gradient_falls_with_the_true_class_and_stays_finite():
    logits = torch.tensor([[200.0, 0, 0], [0, 0, 0], [-200.0, 0, 0]])
    for target in (torch.tensor([0, 0, 0]), torch.eye(3)[[0, 0, 0]]):
        given = logits.clone().requires_grad_()
        values = invert(CrossEntropyLoss(), given, target).values
        (slope,) = torch.autograd.grad(values.sum(), given)
        assert values.isfinite().all()
        assert slope.isfinite().all()
        # Sure and right costs most; -log(1 - p) has the slope p.
        assert values[0] > values[1] > values[2]
        assert slope[:, 0].tolist() == pytest.approx([1, 1 / 3, 0])


def test_numerical_gradient():
    logits = random_logits().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: inverted_soft_labels(x, SOFT), logits
    )


def test_weights_of_images_and_classes():
    weight = torch.tensor([1.0, 0, 2, 1, 1])
    table = [1.0, 2.0, 3.0, 4.0]
    loss = CrossEntropyLoss(class_weight=table)
    hard = invert(loss, random_logits(), LABELS, weight=weight)
    assert hard.weights.tolist() == [1, 0, 4, 2, 3]
    soft = invert(loss, random_logits(), SOFT)
    expected = [
        sum(y * w for y, w in zip(row, table, strict=True))
        for row in SOFT.tolist()
    ]
    assert soft.weights.tolist() == pytest.approx(expected)


def test_an_image_without_a_label_does_not_count():
    targets = SOFT.clone()
    targets[1] = 0
    inverted = invert(CrossEntropyLoss(), random_logits(), targets)
    assert inverted.weights.tolist() == [1, 0, 1, 1, 1]
    assert inverted.values.isfinite().all()


@pytest.mark.parametrize(
    'loss',
    [
        CrossEntropyLoss(use_sigmoid=True),
        LabelSmoothLoss(0.1, num_classes=4, mode='multi_label'),
        FocalLoss(),
        AsymmetricLoss(),
    ],
    ids=repr,
)
def test_sigmoid_inverts_each_class_that_is_present(loss):
    logits = random_logits(2)
    targets = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 1]])
    inverted = invert(loss, logits, targets)
    places = [(0, 0), (0, 2), (1, 3)]
    assert inverted.key.tolist() == [list(place) for place in places]
    for (row, column), value, score in zip(
        places, inverted.values.tolist(), inverted.score.tolist(), strict=True
    ):
        p = 1 / (1 + math.exp(-float(logits[row, column])))
        assert value == pytest.approx(-math.log(1 - p))
        assert score == pytest.approx(p)


def test_asymmetric_softmax_and_seesaw():
    logits = random_logits()
    expected = invert(CrossEntropyLoss(), logits, LABELS).values
    asymmetric = invert(AsymmetricLoss(use_sigmoid=False), logits, LABELS)
    seesaw = invert(SeesawLoss(num_classes=4), logits, LABELS)
    assert torch.allclose(asymmetric.values, expected)
    assert torch.allclose(seesaw.values, expected)


def test_official_form():
    logits = random_logits()
    loss = CrossEntropyLoss(loss_weight=2.0)
    inversion = find_inversion(loss)
    output = inversion.official(
        loss, bind(loss, logits, LABELS), torch.zeros(())
    )
    expected = [
        -math.log(1 - softmax(row)[label] + 1e-8)
        for row, label in zip(logits.tolist(), LABELS.tolist(), strict=True)
    ]
    assert float(output) == pytest.approx(2 * sum(expected) / 5)
