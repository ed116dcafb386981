"""Test the budget against its definition and finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtst.augmentation.base import Policy
from mmtst.engine.budget import mean_rate, tangent_gradient, with_mean_rate

thetas = st.lists(st.floats(-3, 3), min_size=14, max_size=14)


def _policy(theta: list[float]) -> Policy:
    return Policy(
        torch.tensor(theta, dtype=torch.float64),
        torch.linspace(-1, 1, 11, dtype=torch.float64),
    )


def test_mean_rate_is_the_mean_of_the_sigmoids() -> None:
    theta = [0.0] * 7 + [math.log(3.0)] * 7
    assert mean_rate(_policy(theta)) == pytest.approx((0.5 + 0.75) / 2)


@settings(max_examples=50, deadline=None)
@given(theta=thetas, rate=st.floats(0.06, 0.94))
def test_the_rate_is_reached_by_one_shift(
    theta: list[float], rate: float
) -> None:
    policy = _policy(theta)
    held = with_mean_rate(policy, rate, 3.0)
    assert mean_rate(held) == pytest.approx(rate, abs=1e-6)
    assert float(held.th_p.abs().max()) <= 3.0
    assert torch.equal(held.th_m, policy.th_m)
    # All that did not meet the clamp moved alike; no order was turned.
    free = held.th_p.abs() < 3.0 - 1e-9
    shifts = (held.th_p - policy.th_p)[free]
    assert len(shifts) < 2 or float(shifts.max() - shifts.min()) < 1e-9
    order = policy.th_p.argsort()
    assert bool((held.th_p[order].diff() >= -1e-12).all())


@settings(max_examples=25, deadline=None)
@given(theta=thetas, seed=st.integers(0, 1000))
def test_a_tangent_step_keeps_the_mean_rate_to_first_order(
    theta: list[float], seed: int
) -> None:
    policy = _policy(theta)
    generator = torch.Generator().manual_seed(seed)
    gradient = torch.randn(25, generator=generator, dtype=torch.float64)
    tangent = tangent_gradient(gradient, policy)
    step = 1e-5
    moved = Policy(policy.th_p - step * tangent[:14], policy.th_m)
    assert abs(mean_rate(moved) - mean_rate(policy)) < 10 * step**2
    assert torch.equal(tangent[14:], gradient[14:])
    # A second projection changes nothing.
    again = tangent_gradient(tangent, policy)
    torch.testing.assert_close(again, tangent)
