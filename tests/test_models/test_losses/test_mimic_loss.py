"""Check MimicLoss against hand-computed values."""

import pytest
import torch

from mmtst.models.losses import MimicLoss


def test_by_hand():
    # Level 0: errors 1 and 3, mean square 5. Level 1: error 2, square 4.
    student = [torch.tensor([[[[1.0, 3.0]]]]), torch.tensor([[[[2.0]]]])]
    teacher = [torch.zeros(1, 1, 1, 2), torch.zeros(1, 1, 1, 1)]
    assert float(MimicLoss()(student, teacher)) == pytest.approx(9.0)
    assert float(MimicLoss(0.5)(student, teacher)) == pytest.approx(4.5)


def test_equal_features_give_zero():
    features = [torch.randn(2, 3, 4, 4)]
    assert float(MimicLoss()(features, features)) == 0.0


def test_gradient_reaches_the_student_alone():
    student = torch.ones(1, 1, 1, 1, requires_grad=True)
    teacher = torch.zeros(1, 1, 1, 1, requires_grad=True)
    MimicLoss()(student, teacher).backward()
    assert float(student.grad) == pytest.approx(2.0)
    assert teacher.grad is None


def test_channels_must_agree():
    with pytest.raises(ValueError, match='connector'):
        MimicLoss()(torch.zeros(1, 2, 1, 1), torch.zeros(1, 3, 1, 1))
