"""Test the budget against its definition and finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtst.augmentation.base import Policy
from mmtst.augmentation.gates import GATE_FORMS, GateForm
from mmtst.engine.budget import (
    mean_rate,
    reachable_rates,
    tangent_gradient,
    with_mean_rate,
)

forms = st.sampled_from(GATE_FORMS)
thetas = st.lists(st.floats(-3, 3), min_size=14, max_size=14)


def _policy(theta: list[float]) -> Policy:
    return Policy(
        torch.tensor(theta, dtype=torch.float64),
        torch.linspace(-1, 1, 11, dtype=torch.float64),
    )


@pytest.mark.parametrize(
    ('form', 'rate'),
    [
        ('logit', (0.5 + 0.75) / 2),
        ('log', (1 / 3 + 3 / 7) / 2),
        ('sigmoid_as_logit', (0.62246 + 0.67918) / 2),
    ],
)
def test_mean_rate_is_the_mean_of_what_is_applied(
    form: GateForm, rate: float
) -> None:
    theta = [0.0] * 7 + [math.log(3.0)] * 7
    assert mean_rate(_policy(theta), form) == pytest.approx(rate, abs=1e-5)


@settings(max_examples=50, deadline=None)
@given(theta=thetas, share=st.floats(0.02, 0.98), form=forms)
def test_the_rate_is_reached_by_one_shift(
    theta: list[float], share: float, form: GateForm
) -> None:
    policy = _policy(theta)
    low, high = reachable_rates(3.0, form)
    rate = low + share * (high - low)
    held = with_mean_rate(policy, rate, 3.0, form)
    assert mean_rate(held, form) == pytest.approx(rate, abs=1e-6)
    assert float(held.th_p.abs().max()) <= 3.0
    assert torch.equal(held.th_m, policy.th_m)
    # All that did not meet the clamp moved alike; no order was turned.
    free = held.th_p.abs() < 3.0 - 1e-9
    shifts = (held.th_p - policy.th_p)[free]
    assert len(shifts) < 2 or float(shifts.max() - shifts.min()) < 1e-9
    order = policy.th_p.argsort()
    assert bool((held.th_p[order].diff() >= -1e-12).all())


@settings(max_examples=25, deadline=None)
@given(theta=thetas, seed=st.integers(0, 1000), form=forms)
def test_a_tangent_step_keeps_the_mean_rate_to_first_order(
    theta: list[float], seed: int, form: GateForm
) -> None:
    policy = _policy(theta)
    generator = torch.Generator().manual_seed(seed)
    gradient = torch.randn(25, generator=generator, dtype=torch.float64)
    tangent = tangent_gradient(gradient, policy, form)
    step = 1e-5
    moved = Policy(policy.th_p - step * tangent[:14], policy.th_m)
    assert abs(mean_rate(moved, form) - mean_rate(policy, form)) < 10 * step**2
    assert torch.equal(tangent[14:], gradient[14:])
    # A second projection changes nothing.
    again = tangent_gradient(tangent, policy, form)
    torch.testing.assert_close(again, tangent)
