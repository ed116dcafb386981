from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from mmdet.models.losses import (
    BalancedL1Loss,
    CrossEntropyLoss,
    FocalLoss,
    L1Loss,
    QualityFocalLoss,
)
from mmseg.models import losses as mmseg_losses
from torch import Tensor, nn

from mmtst.models.objectives.interception import LossInterceptor, Mode
from mmtst.models.objectives.inversion import InversionOptions
from mmtst.utils.errors import ConfigError

LABELS = [torch.tensor([0, 2, 1]), torch.tensor([2, 1])]  # 2 is background
WEIGHTS = [torch.tensor([1.0, 1.0, 0.5]), torch.tensor([1.0, 2.0])]


class Head(nn.Module):
    """Computes a class loss and a box loss at two levels."""

    def __init__(self) -> None:
        super().__init__()
        self.loss_cls = FocalLoss(loss_weight=2.0)
        self.loss_bbox = L1Loss(loss_weight=0.5)

    def forward(self, x: Tensor) -> dict[str, Any]:
        losses: dict[str, Any] = dict(loss_cls=[], loss_bbox=[])
        for level in range(2):
            labels, weights = LABELS[level], WEIGHTS[level]
            logits = x[level, : len(labels), :2]
            boxes = x[level, : len(labels), 2:]
            with torch.no_grad():  # as a hard-example miner does
                mined = self.loss_cls(
                    logits, labels, reduction_override='none'
                )
            assert mined.shape == logits.shape
            assert mined.any()
            losses['loss_cls'].append(
                self.loss_cls(logits, labels, weights, avg_factor=3.0)
            )
            positive = (labels < 2).float()[:, None].expand(-1, 4)
            losses['loss_bbox'].append(
                self.loss_bbox(
                    pred=boxes,
                    target=torch.zeros_like(boxes),
                    weight=positive,
                    avg_factor=3.0,
                )
            )
        return losses


def features(seed: int = 0, grad: bool = True) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 3, 6, generator=generator, dtype=torch.float64)
    return x.requires_grad_(grad)


def scalars(losses: dict[str, list[Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack(values).sum() for name, values in losses.items()}


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) for m in model.modules())


def test_inverted_losses_are_pooled_over_levels() -> None:
    head, x = Head(), features()
    with LossInterceptor(head, 'invert') as caught:
        losses = head(x)
    for values in losses.values():
        for value in values:
            assert value.item() == 0.0
    cls = box = 0.0
    for level, row, label, weight in [
        (0, 0, 0, 1.0),
        (0, 2, 1, 0.5),
        (1, 1, 1, 2.0),
    ]:
        cls += weight * F.softplus(x[level, row, label]).item()
        box += torch.expm1(-x[level, row, 2:].abs().sum()).item()
    parts = caught.inverted_losses()
    assert parts['cls'] is not None
    assert parts['cls'].item() == pytest.approx(2.0 * cls / 3.5)
    assert parts['box'] is not None
    assert parts['box'].item() == pytest.approx(0.5 * box / 3)
    assert caught.escaped(scalars(losses)) == {}


def test_the_scale_of_boxes_is_taken_from_the_options() -> None:
    head, x = Head(), features()
    parts = []
    for scale in (1.0, 1e6):
        options = InversionOptions(box_scale=scale)
        with LossInterceptor(head, 'invert', options) as caught:
            head(x)
        parts.append(caught.inverted_losses()['box'])
    mean = (
        sum(x[a, b, 2:].abs().sum() for a, b in [(0, 0), (0, 2), (1, 1)]) / 3
    )
    assert parts[0] is not None
    assert parts[1] is not None
    assert parts[1].item() == pytest.approx(
        -0.5 * float(mean.detach()), rel=1e-4
    )
    assert parts[1] < parts[0]


def test_calls_without_gradients_are_left_alone() -> None:
    head, x = Head(), features()
    plain = scalars(head(x))
    with torch.no_grad(), LossInterceptor(head, 'invert') as caught:
        losses = scalars(head(x))
    assert not caught.calls
    assert caught.inverted_losses() == {'cls': None, 'box': None}
    assert {k: v.item() for k, v in losses.items()} == {
        k: v.item() for k, v in plain.items()
    }


@pytest.mark.parametrize('mode', ['watch', 'invert', 'official'])
def test_hooks_go_also_after_an_error(mode: Mode) -> None:
    head = Head()

    def fail() -> None:
        with LossInterceptor(head, mode):
            assert hooks(head) == 2
            raise RuntimeError('on purpose')

    with pytest.raises(RuntimeError, match='on purpose'):
        fail()
    assert hooks(head) == 0


def test_hooks_go_when_the_model_itself_fails() -> None:
    head = Head()
    with pytest.raises(IndexError), LossInterceptor(head, 'invert'):
        head(torch.zeros(1, 3, 6))
    assert hooks(head) == 0


def test_no_positive_gives_a_zero_with_a_graph() -> None:
    loss, x = FocalLoss(), features()
    with LossInterceptor(nn.ModuleList([loss]), 'invert') as caught:
        loss(x[0, :, :2], torch.full((3,), 2))
    part = caught.inverted_losses()['cls']
    assert part is not None
    assert part.item() == 0.0
    (slope,) = torch.autograd.grad(part, x)
    assert not slope.any()


def test_zero_weights_give_a_zero() -> None:
    loss, x = FocalLoss(), features()
    with LossInterceptor(nn.ModuleList([loss]), 'invert') as caught:
        loss(x[0, :, :2], torch.zeros(3, dtype=torch.long), torch.zeros(3))
    part = caught.inverted_losses()['cls']
    assert part is not None
    (slope,) = torch.autograd.grad(part, x)
    assert part.item() == 0.0
    assert not slope.any()


def test_a_module_used_by_two_heads_is_pooled_once() -> None:
    shared = FocalLoss()
    model = nn.ModuleDict(
        {'a': nn.ModuleList([shared]), 'b': nn.ModuleList([shared])}
    )
    x, labels = features(), torch.tensor([0])
    with LossInterceptor(model, 'invert') as caught:
        assert hooks(model) == 1
        model['a'][0](x[0, :1, :2], labels)
        model['b'][0](x[1, :1, :2], labels)
    part = caught.inverted_losses()['cls']
    assert part is not None
    assert part.item() == pytest.approx(F.softplus(x[:, 0, 0]).mean().item())


def test_calls_with_a_divisor_add_up_as_their_losses_do() -> None:
    labels = torch.tensor([[0, 1, 255, 255]])
    head = nn.ModuleDict({'loss': mmseg_losses.CrossEntropyLoss()})
    scores = [torch.randn(1, 3, 4), torch.randn(1, 3, 4)]
    singles = []
    for calls in ([scores[0]], [scores[1]], scores):
        caught = LossInterceptor(head, 'invert')
        with caught:
            for call in calls:
                head['loss'](call, labels, ignore_index=255)
        part = caught.inverted_losses()['cls']
        assert part is not None
        singles.append(part.item())
    assert singles[2] == pytest.approx(singles[0] + singles[1])


def test_watching_averages_over_what_is_labelled_if_asked() -> None:
    labels = torch.tensor([[0, 1, 255, 255]])
    head = nn.ModuleDict({'loss': mmseg_losses.CrossEntropyLoss()})
    scores = torch.randn(1, 3, 4).requires_grad_()
    own = head['loss'](scores, labels, ignore_index=255)
    for average, times in (('valid', 2.0), ('loss', 1.0)):
        options = InversionOptions(average=average)  # type: ignore[arg-type]
        with LossInterceptor(head, 'watch', options):
            seen = head['loss'](scores, labels, ignore_index=255)
        assert seen.item() == pytest.approx(times * own.item())


def test_losses_added_in_place_are_told_apart() -> None:
    labels = torch.tensor([[0, 1, 2, 0]])
    head = nn.ModuleDict({'loss': mmseg_losses.CrossEntropyLoss()})
    # Without gradients of its own an output would be a leaf.
    for scores in (
        torch.randn(1, 3, 4),
        torch.randn(1, 3, 4).requires_grad_(),
    ):
        watched = LossInterceptor(head, 'watch')
        with watched:
            total = head['loss'](scores, labels)
            total += head['loss'](2 * scores, labels)
        part = watched.parts_of(total)['cls']
        assert part is not None
        assert part.item() == pytest.approx(total.item())


def test_auxiliary_heads_are_not_asked_for_classes() -> None:
    labels = torch.tensor([[0, 1, 2, 0]])
    model = nn.ModuleDict(
        {
            name: nn.ModuleDict({'loss': mmseg_losses.CrossEntropyLoss()})
            for name in ('decode_head', 'auxiliary_head')
        }
    )
    for names in (['auxiliary_head'], ['auxiliary_head', 'decode_head']):
        caught = LossInterceptor(model, 'invert')
        with caught:
            for name in names:
                model[name]['loss'](torch.randn(1, 3, 4), labels)
        assert [call.path for call, _ in caught.classified()] == [
            f'{names[-1]}.loss'
        ]


def test_watching_leaves_losses_as_they_are_and_splits_their_sum() -> None:
    head, x = Head(), features()
    plain = scalars(head(x))
    with LossInterceptor(head, 'watch') as watched:
        losses = scalars(head(x))
    assert {k: v.item() for k, v in losses.items()} == {
        k: v.item() for k, v in plain.items()
    }
    total = losses['loss_cls'] + 3 * losses['loss_bbox']
    parts = watched.parts_of(total)
    for kind, expected in (
        ('cls', plain['loss_cls']),
        ('box', 3 * plain['loss_bbox']),
    ):
        part = parts[kind]  # type: ignore[index]
        assert part is not None
        assert part.item() == pytest.approx(expected.item())
        (mine,) = torch.autograd.grad(part, x, retain_graph=True)
        (other,) = torch.autograd.grad(expected, x, retain_graph=True)
        assert torch.allclose(mine, other)


def test_watching_works_where_nothing_needs_a_gradient() -> None:
    head, x = Head(), features(grad=False)
    plain = scalars(head(x))
    with LossInterceptor(head, 'watch') as watched:
        losses = scalars(head(x))
    parts = watched.parts_of(losses['loss_cls'] + losses['loss_bbox'])
    assert parts['cls'] is not None
    assert parts['cls'].item() == pytest.approx(plain['loss_cls'].item())


def test_official_gives_the_heads_other_losses_to_reduce() -> None:
    head, x = Head(), features()
    plain = scalars(head(x))
    with LossInterceptor(head, 'official') as caught:
        losses = scalars(head(x))
    assert losses['loss_bbox'].item() == pytest.approx(
        -plain['loss_bbox'].item()
    )
    assert losses['loss_cls'].item() > 0
    assert losses['loss_cls'].item() != pytest.approx(plain['loss_cls'].item())
    assert caught.escaped(losses) == {}


def test_official_refuses_what_the_reference_code_lacks() -> None:
    loss = QualityFocalLoss()
    model = nn.ModuleDict({'loss_cls': loss})
    target = (torch.tensor([0]), torch.ones(1))
    with (
        pytest.raises(ConfigError, match='QualityFocalLoss'),
        LossInterceptor(model, 'official'),
    ):
        loss(torch.zeros(1, 2), target)
    assert hooks(model) == 0


@pytest.mark.parametrize('mode', ['invert', 'official'])
def test_a_functional_loss_escapes(mode: Mode) -> None:
    head, x = Head(), features()
    with LossInterceptor(head, mode) as caught:
        losses = scalars(head(x))
    losses['loss_extra'] = x.square().mean()
    losses['loss_zero'] = 0 * x.sum()
    losses['loss_broken'] = x.sum() * float('nan')
    losses['loss_cls'] = losses['loss_cls'] + 1
    escaped = caught.escaped(losses)
    assert set(escaped) == {'loss_extra', 'loss_cls'}
    assert escaped['loss_extra'].item() == pytest.approx(
        x.square().mean().item()
    )
    assert escaped['loss_cls'].item() == pytest.approx(1.0)


def test_an_unregistered_loss_is_remembered() -> None:
    loss = BalancedL1Loss()
    model = nn.ModuleDict({'head': nn.ModuleDict({'loss_bbox': loss})})
    with LossInterceptor(model, 'invert') as caught:
        value = loss(torch.zeros(1, 4), torch.ones(1, 4))
    assert value.item() != 0
    assert caught.strangers == [
        (
            'head.loss_bbox',
            'mmdet.models.losses.balanced_l1_loss.BalancedL1Loss',
        )
    ]


def test_a_teacher_may_have_what_cannot_be_inverted() -> None:
    loss = CrossEntropyLoss()
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    labels = torch.zeros(1, 2, 2, dtype=torch.long)
    with LossInterceptor(nn.ModuleList([loss]), 'watch') as watched:
        value = loss(logits, labels)
    share = watched.parts_of(value)['cls']
    assert share is not None
    assert share.item() == pytest.approx(value.item())
    assert watched.classified() == []


def test_the_weights_of_cascade_stages_count() -> None:
    model = nn.Module()
    model.roi_head = nn.Module()
    model.roi_head.stage_loss_weights = [1, 0.25]
    model.roi_head.bbox_head = nn.ModuleList(
        [nn.ModuleDict({'loss_cls': FocalLoss(loss_weight=3.0)}) for _ in 'ab']
    )
    logits = torch.zeros(1, 2, requires_grad=True)
    with LossInterceptor(model, 'invert') as caught:
        for stage in model.roi_head.bbox_head:
            stage['loss_cls'](logits, torch.tensor([0]))
    assert [call.loss_weight for call in caught.calls] == [3.0, 0.75]


def test_a_first_stage_does_not_tell_classes_apart() -> None:
    model = nn.Module()
    model.rpn_head = nn.ModuleDict({'loss_cls': FocalLoss()})
    model.roi_head = nn.ModuleDict({'loss_cls': FocalLoss()})
    logits = torch.zeros(1, 2, requires_grad=True)
    with LossInterceptor(model, 'invert') as caught:
        model.rpn_head['loss_cls'](logits, torch.tensor([0]))
        only = caught.classified()
        model.roi_head['loss_cls'](logits, torch.tensor([1]))
        both = caught.classified()
    assert [call.path for call, _ in only] == ['rpn_head.loss_cls']
    assert [call.path for call, _ in both] == ['roi_head.loss_cls']


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_inverted_losses_leave_autocast(dtype: torch.dtype) -> None:
    head = Head()
    linear = nn.Linear(6, 6)
    x = 50 * torch.randn(2, 3, 6)
    with (
        torch.autocast('cpu', dtype=dtype),
        LossInterceptor(head, 'invert') as caught,
    ):
        outputs = linear(x)
        head(outputs)
    assert outputs.dtype == dtype
    for part in caught.inverted_losses().values():
        assert part is not None
        assert part.dtype == torch.float32
        assert part.isfinite()
        (slope,) = torch.autograd.grad(part, linear.weight, retain_graph=True)
        assert slope.isfinite().all()


def test_real_heads_call_what_is_hooked(
    build_small: Callable[..., nn.Module],
    make_batch: Callable[..., tuple[Tensor, list[Any]]],
) -> None:
    """FCOS: three losses, one call each; RetinaNet: one call per level."""
    images, samples = make_batch(
        [(64, 96)] * 2, [[[8.0, 8.0, 40.0, 50.0]]] * 2, [[1]] * 2
    )
    calls = {}
    for family in ('fcos', 'retinanet'):
        model = build_small(family)
        with LossInterceptor(model, 'invert') as caught:
            model(images, samples, mode='loss')
        calls[family] = sorted(call.path for call in caught.calls)
    assert calls['fcos'] == [
        'bbox_head.loss_bbox',
        'bbox_head.loss_centerness',
        'bbox_head.loss_cls',
    ]
    assert calls['retinanet'] == (
        ['bbox_head.loss_bbox'] * 5 + ['bbox_head.loss_cls'] * 5
    )
