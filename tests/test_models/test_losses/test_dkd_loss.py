"""Check DKDLoss against mmrazor's, by hand and where that one fails."""

from __future__ import annotations

import math
from typing import Any

import mmtst  # noqa: F401  isort: skip
import pytest
import torch
from torch import Tensor

from mmtst.models.losses import DKDLoss
from mmtst.registry import MODELS
from mmtst.utils.errors import ConfigError


def logits(seed: int, rows: int = 6, classes: int = 5) -> Any:
    generator = torch.Generator().manual_seed(seed)
    pair = torch.randn(2, rows, classes, generator=generator).double() * 3
    labels = torch.randint(classes, (rows,), generator=generator)
    return pair[0].requires_grad_(), pair[1], labels


@pytest.mark.filterwarnings('ignore:size_average')
@pytest.mark.parametrize('seed', [0, 1])
@pytest.mark.parametrize('tau', [1.0, 4.0])
def test_value_and_gradient_are_mmrazors(seed: int, tau: float) -> None:
    options = dict(tau=tau, alpha=0.7, beta=6.0, loss_weight=1.5)
    theirs = MODELS.build(dict(type='mmrazor.DKDLoss', **options))
    found = []
    for loss in (DKDLoss(**options), theirs):
        student, teacher, labels = logits(seed)
        value = loss(student, teacher, labels)
        (gradient,) = torch.autograd.grad(value, student)
        found.append((value.detach(), gradient))
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-12)


def test_by_hand() -> None:
    # Teacher: target 1/2, others 1/4 each; student: 1/4, then 1/4 and 1/2.
    teacher = torch.tensor([[0.5, 0.25, 0.25]]).log()
    student = torch.tensor([[0.25, 0.25, 0.5]]).log()
    labels = torch.tensor([0])
    target = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    others = 0.5 * math.log(0.5 / (1 / 3)) + 0.5 * math.log(0.5 / (2 / 3))
    value = DKDLoss(tau=1.0, alpha=2.0, beta=3.0)(student, teacher, labels)
    assert float(value) == pytest.approx(2 * target + 3 * others, rel=1e-6)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
def test_a_student_that_is_sure_and_wrong_has_a_finite_gradient(
    dtype: torch.dtype,
) -> None:
    student = torch.tensor([[-900.0, 900.0, 0.0]], dtype=dtype)
    student.requires_grad_()
    teacher = -student.detach()
    value: Tensor = DKDLoss()(student, teacher, torch.tensor([0]))
    value.backward()
    # All of the teacher on the target: 16 * 1800 / 4; the others 900 / 4.
    assert float(value) == pytest.approx(16 * (450 + 8 * 225), rel=1e-3)
    assert student.grad is not None
    assert student.grad.isfinite().all() and student.grad[0, 0] < 0


def test_the_teacher_is_spared() -> None:
    student, teacher, labels = logits(0)
    teacher.requires_grad_()
    DKDLoss()(student, teacher, labels).backward()
    assert teacher.grad is None


@pytest.mark.parametrize('options', [dict(tau=0), dict(alpha=-1)], ids=str)
def test_bad_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match='where'):
        DKDLoss(**options)
