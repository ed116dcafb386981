"""Test the gradients of the objective's parts."""

from __future__ import annotations

import pytest
import torch

from mmtst.models.objectives import GapObjective
from mmtst.models.objectives.gap_result import PARTS
from mmtst.testing.toys import toy, toy_inputs


def test_each_part_has_its_own_gradient() -> None:
    inputs = toy_inputs()
    teacher, student = toy([1, 0]), toy([0, 1])
    norms = GapObjective(weights=dict(S_box=3.0))(
        teacher, student, inputs, []
    ).part_gradients([inputs])
    assert tuple(norms) == PARTS
    for name in ('T_cls', 'T_box', 'S_cls', 'S_box'):
        weights = dict.fromkeys(('T_cls', 'T_box', 'S_cls', 'S_box'), 0.0)
        weights[name] = 3.0 if name == 'S_box' else 1.0
        alone = GapObjective(weights=weights)(teacher, student, inputs, [])
        (slope,) = torch.autograd.grad(alone.total, inputs)
        assert norms[name] == pytest.approx(slope.norm().item())
        assert norms[name] > 0
    assert norms['S_other'] == 0.0


def test_part_gradients_keep_the_graph() -> None:
    inputs = toy_inputs()
    result = GapObjective()(toy([1]), toy([1]), inputs, [])
    assert result.part_gradients([inputs]) == result.part_gradients([inputs])
    result.total.backward()
    assert inputs.grad is not None
