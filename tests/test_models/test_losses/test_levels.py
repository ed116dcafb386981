"""Check how levels are paired."""

import pytest
import torch

from mmtst.models.losses.levels import paired_levels


def test_pairs_in_order_and_detaches_the_teacher():
    student = [torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 1, 1)]
    teacher = [t.clone().requires_grad_() for t in student]
    pairs = paired_levels(student, tuple(teacher), 'L')
    assert [s is x for (s, _), x in zip(pairs, student, strict=True)] == [
        True,
        True,
    ]
    assert not any(t.requires_grad for _, t in pairs)


def test_channels_may_differ_on_request():
    student, teacher = torch.zeros(1, 2, 1, 1), torch.zeros(1, 3, 1, 1)
    assert len(paired_levels(student, teacher, 'L', same_channels=False)) == 1
    with pytest.raises(ValueError, match='level 0'):
        paired_levels(student, teacher, 'L')
