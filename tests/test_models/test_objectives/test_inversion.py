from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmdet.models.losses import (
    BalancedL1Loss,
    CrossEntropyLoss,
    FocalLoss,
    L1Loss,
    QualityFocalLoss,
    VarifocalLoss,
)
from torch import nn

from mmtst.models.objectives import inversion
from mmtst.models.objectives.interception import LossInterceptor
from mmtst.models.objectives.inversion import (
    INVERSIONS,
    InvertedLoss,
    at_least_float32,
    bounded_negative,
    find_inversion,
    loss_modules,
    register_inversion,
    resolve_losses,
)
from mmtst.utils.errors import ConfigError


@pytest.fixture
def _registry() -> Iterator[None]:
    before = dict(INVERSIONS)
    yield
    INVERSIONS.clear()
    INVERSIONS.update(before)


class SameForward(FocalLoss):
    pass


class OtherForward(FocalLoss):
    def forward(self, pred: Any, target: Any) -> Any:
        return pred.sum()


class MyLoss(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = FocalLoss()


def test_bounded_negative_by_hand() -> None:
    # s = 2, L = 2 ln 2: -2 (1 - 1/2) = -1
    value = bounded_negative(torch.tensor(2 * math.log(2)), 2.0)
    assert value.item() == pytest.approx(-1.0)


@pytest.mark.parametrize('scale', [0.5, 1.0, 4.0])
def test_bounded_negative_follows_its_formula(scale: float) -> None:
    losses = torch.linspace(0, 12, 61, dtype=torch.float64)
    losses.requires_grad_()
    values = bounded_negative(losses, scale)
    for loss, value in zip(losses.tolist(), values.tolist(), strict=True):
        assert value == pytest.approx(-scale * (1 - math.exp(-loss / scale)))
    (slope,) = torch.autograd.grad(values.sum(), losses)
    assert slope[0].item() == pytest.approx(-1.0)
    assert ((slope[1:] < 0) & (slope[1:] > -1)).all()
    assert (values >= -scale).all()


def test_bounded_negative_stays_finite() -> None:
    losses = torch.tensor([-1e4, -1.0, 0.0, 1e4, 1e38], requires_grad=True)
    values = bounded_negative(losses, 1.0)
    assert values.tolist() == pytest.approx([1e4, 1.0, 0.0, -1.0, -1.0])
    (slope,) = torch.autograd.grad(values.sum(), losses)
    assert slope.tolist() == pytest.approx([-1.0, -1.0, -1.0, 0.0, 0.0])


def test_half_precision_is_raised_and_no_other() -> None:
    kinds = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    raised = [at_least_float32(torch.ones(1, dtype=k)).dtype for k in kinds]
    assert raised == [torch.float32] * 3 + [torch.float64]


def test_a_subclass_counts_only_with_the_same_forward() -> None:
    assert find_inversion(FocalLoss()) is INVERSIONS[FocalLoss]
    assert find_inversion(SameForward) is INVERSIONS[FocalLoss]
    assert find_inversion(OtherForward()) is None
    assert find_inversion(nn.Conv2d(1, 1, 1)) is None


@pytest.mark.usefixtures('_registry')
def test_registering_returns_the_function_and_takes_several_classes() -> None:
    def invert(module: Any, arguments: Any, options: Any) -> InvertedLoss:
        raise NotImplementedError

    register = register_inversion(OtherForward, MyLoss, kind='box')
    assert register(invert) is invert
    for cls in (OtherForward, MyLoss):
        found = find_inversion(cls)
        assert found is not None
        assert found.kind == 'box'
        assert found.positives is invert
        assert found.official is None


def test_registering_needs_a_kind() -> None:
    with pytest.raises(ConfigError, match='cls, box'):
        register_inversion(MyLoss, kind='mask')  # type: ignore[arg-type]


@pytest.mark.usefixtures('_registry')
def test_a_loss_in_a_registered_loss_belongs_to_it() -> None:
    model = nn.ModuleDict({'head': nn.ModuleList([MyLoss()])})
    assert [path for path, _ in loss_modules(model)] == [
        'head.0',
        'head.0.inner',
    ]
    register_inversion(MyLoss, kind='cls')(lambda *_: None)  # type: ignore
    assert [path for path, _ in loss_modules(model)] == ['head.0']


def test_resolving_names_path_class_and_kind() -> None:
    model = nn.ModuleDict(
        {
            'conv': nn.Conv2d(1, 1, 1),
            'loss_cls': CrossEntropyLoss(),
            'loss_bbox': L1Loss(),
        }
    )
    assert resolve_losses(model) == [
        ('loss_cls', 'CrossEntropyLoss', 'cls'),
        ('loss_bbox', 'L1Loss', 'box'),
    ]


@pytest.mark.parametrize('loss', [BalancedL1Loss(), MyLoss(), nn.MSELoss()])
def test_an_unknown_loss_is_refused_with_what_to_do(loss: nn.Module) -> None:
    model = nn.ModuleDict({'bbox_head': nn.ModuleDict({'loss_bbox': loss})})
    with pytest.raises(ConfigError) as caught:
        resolve_losses(model)
    message = str(caught.value)
    assert type(loss).__name__ in message
    assert 'student.bbox_head.loss_bbox' in message
    assert 'register_inversion' in message
    assert 'add_an_inverted_loss.md' in message
    assert "on_escape='bounded_negative'" in message


def test_a_reason_may_be_given_until_an_inversion_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class OddLoss(nn.Module):
        pass

    monkeypatch.setattr(inversion, 'INVERSIONS', dict(INVERSIONS))
    monkeypatch.setattr(inversion, 'REFUSALS', {})
    inversion.refuse_inversion(OddLoss, reason='it is odd')
    model = nn.ModuleDict({'head': OddLoss()})
    with pytest.raises(ConfigError, match='OddLoss: it is odd') as caught:
        resolve_losses(model)
    # Of another package than the known ones: all of them, each name once.
    assert str(caught.value).count(' FocalLoss') == 1

    @register_inversion(OddLoss, kind='cls')
    def invert(*_: Any) -> Any:
        return None

    assert resolve_losses(model) == [('head', 'OddLoss', 'cls')]


def test_a_loss_the_reference_code_lacks_is_refused_in_its_mode() -> None:
    model = nn.ModuleDict({'loss_cls': QualityFocalLoss()})
    assert resolve_losses(model)[0][2] == 'cls'
    with pytest.raises(ConfigError, match='QualityFocalLoss'):
        resolve_losses(model, 'official')


@pytest.mark.usefixtures('_registry')
def test_the_code_of_the_guide_runs() -> None:
    guide = Path(__file__).parents[3] / 'docs/en/how_to'
    text = (guide / 'add_an_inverted_loss.md').read_text(encoding='utf-8')
    blocks = re.findall(r'```python\n(.*?)```', text, flags=re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, 'add_an_inverted_loss.md', 'exec'), {})
    box, cls = BalancedL1Loss(), VarifocalLoss()
    for loss, kind in ((box, 'box'), (cls, 'cls')):
        found = find_inversion(loss)
        assert found is not None
        assert found.kind == kind
    pred = torch.tensor([[0.5, 0.0, 0.0, 0.0], [9.0] * 4], requires_grad=True)
    with LossInterceptor(nn.ModuleList([box]), 'invert') as caught:
        box(pred, torch.zeros(2, 4), torch.tensor([[2.0] * 4, [0.0] * 4]))
    part = caught.inverted_losses()['box']
    assert part is not None
    loss = box(pred[:1], torch.zeros(1, 4), reduction_override='none').sum()
    assert part.item() == pytest.approx(math.expm1(-loss.item()))
    logits = torch.zeros(2, 3, requires_grad=True)
    with LossInterceptor(nn.ModuleList([cls]), 'invert') as caught:
        cls(logits, torch.tensor([[0.0, 0.7, 0.0], [0.0, 0.0, 0.0]]))
    part = caught.inverted_losses()['cls']
    assert part is not None
    assert part.item() == pytest.approx(math.log(2))
