"""Check how levels are paired."""

import pytest
import torch

from mmtst.models.losses.levels import (
    full_precision,
    paired_levels,
    rows_of,
)


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


def test_further_levels_are_left_out_on_request():
    students = [torch.zeros(1, 1, n, n) for n in (4, 2, 1)]
    teachers = [torch.ones(1, 1, n, n) for n in (4, 2)]
    pairs = paired_levels(students, teachers, 'L', num_levels=2)
    assert [t.shape[-1] for _, t in pairs] == [4, 2]
    with pytest.raises(ValueError, match='student has 3 levels, the teacher'):
        paired_levels(students, teachers, 'L', num_levels=3)


def test_rows_are_positions():
    features = torch.arange(24.0).reshape(2, 3, 2, 2)
    rows = rows_of(features)
    assert rows.shape == (8, 3)
    assert torch.equal(rows[5], features[1, :, 0, 1])
    assert rows_of(rows) is rows


def test_only_half_precision_is_raised():
    for dtype in (torch.float16, torch.bfloat16):
        assert full_precision(torch.ones(1, dtype=dtype)).dtype == (
            torch.float32
        )
    for dtype in (torch.float32, torch.float64):
        assert full_precision(torch.ones(1, dtype=dtype)).dtype == dtype
