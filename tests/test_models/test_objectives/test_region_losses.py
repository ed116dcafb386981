from __future__ import annotations

import inspect
import math
from typing import Any

import pytest
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
    Average,
    InversionOptions,
    InvertedLoss,
    find_inversion,
    resolve_losses,
)
from mmtst.utils.compat import mend_segmentation_losses
from mmtst.utils.errors import ConfigError

LOSSES = {
    'dice': DiceLoss(use_sigmoid=False, loss_weight=3.0),
    'sigmoid dice': DiceLoss(naive_dice=True),
    'dice, sum': DiceLoss(use_sigmoid=False, reduction='sum'),
    'tversky': TverskyLoss(class_weight=[1.0, 2.0, 3.0]),
    'lovasz': LovaszLoss(reduction='none', loss_weight=0.5),
    'lovasz per image': LovaszLoss(per_image=True, class_weight=[1.0, 2, 3]),
}
PER_IMAGE = [name for name in LOSSES if name != 'lovasz']


def arguments_of(
    loss: nn.Module, logits: Tensor, labels: Tensor
) -> dict[str, Any]:
    """Return what a decode head calls the loss with, bound."""
    bound = inspect.signature(loss.forward).bind(
        logits, labels, weight=None, ignore_index=255
    )
    bound.apply_defaults()
    return bound.arguments


def invert(
    loss: nn.Module, logits: Tensor, labels: Tensor, average: Average = 'valid'
) -> InvertedLoss:
    inversion = find_inversion(loss)
    assert inversion is not None and inversion.kind == 'cls'
    return inversion.positives(
        loss,
        arguments_of(loss, logits, labels),
        InversionOptions(average=average),
    )


def mean(inverted: InvertedLoss) -> float:
    assert inverted.divisor is not None
    divisor = inverted.divisor.item() or 1.0
    return (inverted.values * inverted.weights).sum().item() / divisor


def watched(loss: nn.Module, logits: Tensor, labels: Tensor) -> Tensor:
    """Return the output that the teacher's side counts with."""
    inversion = find_inversion(loss)
    assert inversion is not None and inversion.valid is not None
    arguments = arguments_of(loss, logits, labels)
    return inversion.valid(loss, arguments, torch.tensor(math.nan))


def batch(images: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(images, 3, 6, 8, generator=generator)
    return logits, torch.randint(3, (images, 6, 8), generator=generator)


@pytest.mark.parametrize('name', list(LOSSES))
@pytest.mark.parametrize('average', ['valid', 'loss'])
def test_the_bounded_negative_of_the_modules_own_value(
    name: str, average: Average
) -> None:
    loss = LOSSES[name]
    logits, labels = batch()
    inverted = invert(loss, logits, labels, average)
    images = [slice(None)] if name == 'lovasz' else [slice(0, 1), slice(1, 2)]
    own = [
        loss(logits[i], labels[i]).item() / loss.loss_weight for i in images
    ]
    assert inverted.values.tolist() == pytest.approx(
        [-(1 - math.exp(-value)) for value in own]
    )
    assert inverted.divisor is not None
    assert inverted.divisor.item() == (1 if 'sum' in name else len(images))
    assert watched(loss, logits, labels).item() == pytest.approx(
        loss(logits, labels).item()
    )


def test_dice_by_hand_on_what_is_labelled() -> None:
    # Two pixels, scores of class 0: 0.5 and 0.25; the second has no label.
    scores = torch.tensor([[0.5, 0.25], [0.5, 0.75]]).reshape(1, 2, 1, 2)
    labels = torch.tensor([[[0, 255]]])
    loss = DiceLoss(activate=False, naive_dice=True, eps=1e-9)
    # 2 * 0.5 / (0.5 + 0.5 + 1), all and with the other pixel's scores.
    for average, overlap in (('valid', 0.5), ('loss', 1 / 3)):
        inverted = invert(loss, scores, labels, average)  # type: ignore[arg-type]
        assert inverted.values.item() == pytest.approx(
            -(1 - math.exp(-(1 - overlap)))
        )
    assert watched(loss, scores, labels).item() == pytest.approx(0.5)
    assert loss(scores, labels).item() == pytest.approx(2 / 3)


@pytest.mark.parametrize('name', list(LOSSES))
def test_each_player_is_paid_its_way(name: str) -> None:
    loss = LOSSES[name]
    logits, labels = batch()
    logits.requires_grad_()
    better = torch.zeros_like(logits).scatter(1, labels[:, None], 1.0)
    better = better - (1 - better)
    (slope,) = torch.autograd.grad(
        invert(loss, logits, labels).values.sum(), logits
    )
    assert (slope * better).sum() > 0  # the student's being right costs
    (slope,) = torch.autograd.grad(watched(loss, logits, labels), logits)
    assert (slope * better).sum() < 0  # the teacher's being right pays


@pytest.mark.parametrize('name', list(LOSSES))
def test_an_emptied_image_changes_nothing(name: str) -> None:
    loss = LOSSES[name]
    logits, labels = batch()
    labels[1] = 255
    alone = logits[:1], labels[:1]
    whole = mean(invert(loss, *alone)), watched(loss, *alone).item()
    both = mean(invert(loss, logits, labels)), watched(loss, logits, labels)
    # A sum over images stays one: it is filled up to as many as there were.
    times = 2 if 'sum' in name else 1
    assert both[0] == pytest.approx(times * whole[0])
    assert both[1].item() == pytest.approx(times * whole[1])


@pytest.mark.parametrize('name', PER_IMAGE)
def test_as_the_loss_averages_emptying_pays_or_is_its_own_matter(
    name: str,
) -> None:
    loss = LOSSES[name]
    mend_segmentation_losses(loss)
    logits, labels = batch()
    emptied = labels.clone()
    emptied[1] = 255
    before = mean(invert(loss, logits, labels, 'loss'))
    after = mean(invert(loss, logits, emptied, 'loss'))
    teacher = [
        loss(logits, y, ignore_index=255).item() for y in (labels, emptied)
    ]
    if 'dice' in name:  # An image without labels is as wrong as can be.
        assert after < before and teacher[1] > teacher[0]
    else:
        assert after > before and teacher[1] < teacher[0]


@pytest.mark.parametrize('name', list(LOSSES))
@pytest.mark.parametrize('average', ['valid', 'loss'])
def test_nothing_labelled_is_finite(name: str, average: Average) -> None:
    loss = LOSSES[name]
    logits, labels = batch()
    logits.requires_grad_()
    inverted = invert(loss, logits, torch.full_like(labels, 255), average)
    values = [
        inverted.values.sum(),
        watched(loss, logits, torch.full_like(labels, 255)),
    ]
    for value in values:
        (slope,) = torch.autograd.grad(value, logits)
        assert slope.isfinite().all()
    if average == 'valid':
        assert len(inverted.values) == 0
    assert values[1].item() == 0.0


def test_the_binary_lovasz_hinge_may_exceed_one() -> None:
    loss = LovaszLoss(loss_type='binary', reduction='none')
    logits = torch.full((1, 1, 2, 2), 5.0)
    labels = torch.zeros(1, 2, 2, dtype=torch.long)
    assert loss(logits, labels).item() > 1
    assert -1 <= invert(loss, logits, labels).values.item() < -0.99


def test_one_labelled_pixel_is_enough() -> None:
    logits, labels = batch(1)
    labels[:] = 255
    labels[0, 2, 3] = 1
    for name, loss in LOSSES.items():
        assert invert(loss, logits, labels).values.isfinite().all(), name


def test_the_module_is_left_as_it_is() -> None:
    loss = LovaszLoss(reduction='none', loss_weight=0.5)
    criterion, state = loss.cls_criterion, dict(vars(loss))
    invert(loss, *batch())
    assert loss.cls_criterion is criterion
    assert vars(loss) == state


@pytest.mark.parametrize(
    'loss',
    [BoundaryLoss(), HuasdorffDisstanceLoss(), KLDivLoss(), SiLogLoss()],
)
def test_losses_without_an_inverse_are_refused_with_a_reason(
    loss: nn.Module,
) -> None:
    head = nn.Module()
    head.loss_decode = loss
    with pytest.raises(ConfigError) as caught:
        resolve_losses(head)
    message = str(caught.value)
    assert f'for {type(loss).__name__}: it ' in message
    assert 'student.loss_decode' in message
    assert 'OhemCrossEntropy' in message and 'IoULoss' not in message
    assert 'register an inverted loss' in message
