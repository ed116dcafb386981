"""Test the rates of right and wrong positives against ones by hand."""

from __future__ import annotations

import math

import pytest
import torch

from mmtst.models.objectives import GapObjective
from mmtst.testing.toys import toy, toy_inputs


def test_rates_by_hand() -> None:
    """Teacher right on 3 of 4, student on 1; 2 of 4 lie in the gap."""
    result = GapObjective()(
        toy([1, 1, 0, 1]), toy([1, 0, 0, 0]), toy_inputs(), []
    )
    assert result.positives == 4
    assert result.teacher_right == pytest.approx(0.75)
    assert result.student_wrong == pytest.approx(0.75)
    assert result.gap_rate == pytest.approx(0.5)


def test_the_highest_class_is_only_right_from_a_score_on() -> None:
    low = math.log(0.4 / 0.6) - 0.1  # a score of 0.4 after the input's 0.1
    for threshold, right in ((0.3, 1.0), (0.5, 0.0)):
        result = GapObjective(right_score=threshold)(
            toy([1, 1], high=low), toy([1, 1]), toy_inputs(), []
        )
        assert result.teacher_right == right


def test_positives_that_differ_give_no_gap_rate() -> None:
    teacher, student = toy([1, 1, 1]), toy([0, 1, 1])
    teacher.labels = torch.tensor([0, 2, 0])
    student.labels = torch.tensor([0, 0, 2])
    result = GapObjective()(teacher, student, toy_inputs(), [])
    assert result.gap_rate is None
    assert result.teacher_right == 1.0
    assert result.student_wrong == 0.5


def test_no_positives_give_no_rates_and_a_graph() -> None:
    teacher, student = toy([1]), toy([1])
    student.labels = teacher.labels = torch.tensor([2])
    inputs = toy_inputs()
    result = GapObjective(weights=dict(T_cls=0, T_box=0, S_box=0))(
        teacher, student, inputs, []
    )
    assert result.positives == 0
    assert result.teacher_right is None
    assert result.student_wrong is None
    assert result.gap_rate is None
    assert result.total.item() == pytest.approx(0.0, abs=1e-12)
    (slope,) = torch.autograd.grad(result.total, inputs)
    assert not slope.any()
