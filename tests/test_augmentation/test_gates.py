from __future__ import annotations

import math

import pytest
import torch

from mmtst.augmentation.gates import (
    GATE_FORMS,
    application_rate,
    logistic_noise,
    relaxed_bernoulli,
)
from mmtst.utils.errors import ConfigError


def oracle(theta: float, noise: float, tau: float, form: str) -> float:
    p = 1 / (1 + math.exp(-theta))
    location = {
        'logit': math.log(p / (1 - p)),
        'log': math.log(p),
        'sigmoid_as_logit': p,
    }[form]
    return 1 / (1 + math.exp(-(location + noise) / tau))


@pytest.mark.parametrize('form', GATE_FORMS)
@pytest.mark.parametrize('tau', [0.05, 0.3, 1.0])
def test_agrees_with_the_formula(form, tau):
    thetas, noises = [-2.5, -0.3, 0.0, 1.7], [-1.1, 0.0, 0.4]
    got = relaxed_bernoulli(
        torch.tensor(thetas, dtype=torch.float64)[:, None],
        torch.tensor(noises, dtype=torch.float64),
        tau,
        form,
    )
    expected = [[oracle(t, n, tau, form) for n in noises] for t in thetas]
    torch.testing.assert_close(got, torch.tensor(expected).double())


# How often a gate is over one half: p, p / (1 + p) and sigmoid(p), from
# P(noise > -location) = sigmoid(location).
@pytest.mark.parametrize(
    ('form', 'theta', 'rate'),
    [
        ('logit', -2.0, 0.1192),
        ('logit', 2.0, 0.8808),
        ('log', 0.0, 1 / 3),
        ('log', 6.0, 0.4994),
        ('sigmoid_as_logit', -6.0, 0.5006),
        ('sigmoid_as_logit', 0.0, 0.6225),
        ('sigmoid_as_logit', 6.0, 0.7305),
    ],
)
def test_opens_as_often_as_derived(form, theta, rate, generator):
    noise = logistic_noise((40_000,), generator)
    gates = relaxed_bernoulli(torch.tensor(theta), noise, 0.05, form)
    # Three standard deviations of the mean are 0.0075 at most.
    assert gates.gt(0.5).double().mean().item() == pytest.approx(
        rate, abs=0.0075
    )
    assert application_rate(torch.tensor(theta), form).item() == pytest.approx(
        rate, abs=1e-4
    )


@pytest.mark.parametrize('form', GATE_FORMS)
def test_gradient_agrees_with_finite_differences(form):
    theta = torch.tensor([-0.8, 0.1, 0.9], dtype=torch.float64)
    noise = torch.tensor([0.5, -0.2, -0.7], dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda t: relaxed_bernoulli(t, noise, 0.4, form),
        theta.requires_grad_(),
    )


def test_far_out_parameters_stay_finite():
    theta = torch.tensor([-200.0, 200.0], requires_grad=True)
    for form in GATE_FORMS:
        gates = relaxed_bernoulli(theta, torch.tensor(0.3), 0.05, form)
        (gradient,) = torch.autograd.grad(gates.sum(), theta)
        assert gates.isfinite().all()
        assert gradient.isfinite().all()


def test_noise_is_logistic_finite_and_from_the_generator_alone(generator):
    state = torch.get_rng_state()
    noise = logistic_noise((200, 200), generator)
    assert torch.get_rng_state().equal(state)
    assert noise.isfinite().all()
    assert noise.mean().item() == pytest.approx(0, abs=0.03)
    assert noise.var().item() == pytest.approx(math.pi**2 / 3, rel=0.03)
    again = logistic_noise((200, 200), torch.Generator().manual_seed(0))
    assert noise.equal(again)


def test_noise_is_finite_where_the_uniform_draw_is_zero(monkeypatch):
    monkeypatch.setattr(torch, 'rand', lambda *a, **k: torch.zeros(2).double())
    assert logistic_noise((2,), torch.Generator()).isfinite().all()


@pytest.mark.parametrize(
    ('tau', 'form', 'message'),
    [
        (0.0, 'logit', 'over 0'),
        (float('nan'), 'logit', 'over 0'),
        (1.0, 'probit', 'logit, log, sigmoid_as_logit'),
    ],
)
def test_wrong_options_are_refused(tau, form, message):
    with pytest.raises(ConfigError, match=message):
        relaxed_bernoulli(torch.zeros(1), torch.zeros(1), tau, form)
