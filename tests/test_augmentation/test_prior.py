from __future__ import annotations

import pytest
import torch

from mmtst.augmentation.affine_encoder import (
    BasisAffineEncoder,
    ConcatAffineEncoder,
)
from mmtst.augmentation.base import (
    AFFINE_OPERATORS,
    COLOR_OPERATORS,
    MAGNITUDE_OPERATORS,
)
from mmtst.augmentation.color_encoder import (
    QuadraticColorEncoder,
    ScaleShiftColorEncoder,
)
from mmtst.augmentation.manual_operators import affine_target
from mmtst.augmentation.meta_encoders import (
    build_meta_encoders,
    load_prior,
    shipped_prior,
)
from mmtst.augmentation.prior import (
    fit_affine_basis,
    fit_affine_descent,
    fit_color_descent,
    fit_color_quadratic,
    fit_prior,
    squared_displacement,
)
from mmtst.augmentation.prior_images import synthetic_images
from mmtst.augmentation.prior_moments import gather_moments

MAGNITUDES = torch.tensor([0.2, 0.5, 1.0], dtype=torch.float64)


def moments_of(name, images, magnitudes=MAGNITUDES):
    return gather_moments([(name, magnitudes)], images)[0]


def weighted(found, encoder) -> float:
    errors = found.error(encoder(found.magnitudes))
    return float((errors * found.identity.rsqrt()).sum())


@pytest.mark.parametrize('name', COLOR_OPERATORS)
def test_closed_form_is_the_minimum(name, images, generator):
    """No step in any direction lowers the weighted error."""
    encoder = QuadraticColorEncoder().double()
    found = moments_of(name, images)
    fit_color_quadratic(encoder, [found])
    assert encoder.coefficients[0].equal(encoder.coefficients[1])
    best = weighted(found, encoder)
    assert best < weighted(found, QuadraticColorEncoder().double())
    fitted = encoder.coefficients.clone()
    for _ in range(10):
        step = torch.randn(fitted.shape, generator=generator).double()
        for size in (1e-2, -1e-2):
            encoder.coefficients.copy_(fitted + size * step)
            assert weighted(found, encoder) > best


def test_closed_form_fits_each_sign_of_the_magnitude(images):
    encoder = QuadraticColorEncoder().double()
    up = moments_of('Brightness', images)
    down = moments_of('Brightness', images, -MAGNITUDES)
    fit_color_quadratic(encoder, [up, down])
    for found in (up, down):
        errors = found.error(encoder(found.magnitudes))
        assert (errors / found.identity).max() < 0.4
    # Darkening clips nothing: it is linear in x and m, and so exact.
    assert (errors / found.identity).max() < 1e-3


@pytest.mark.parametrize('name', AFFINE_OPERATORS)
def test_affine_closed_form_is_exact(name):
    encoder = BasisAffineEncoder(name).double()
    fit_affine_basis(encoder, name, binned=False, side=32)
    for m in (-0.9, 0.0, 0.123, 1.0):
        theta = encoder(torch.tensor([m], dtype=torch.float64))[0]
        target = affine_target(name, m)
        torch.testing.assert_close(theta, target, rtol=0, atol=1e-9)


def test_squared_displacement_is_that_of_the_pixels(generator):
    theta = torch.randn(2, 2, 3, generator=generator).double()
    target = torch.randn(2, 2, 3, generator=generator).double()
    row = (torch.arange(400).double() + 0.5) / 200 - 1
    y, x = torch.meshgrid(row, row, indexing='ij')
    points = torch.stack([x, y, torch.ones_like(x)], -1)
    apart = torch.einsum('bij,rcj->brci', theta - target, points) / 2
    expected = apart.square().sum(-1).mean((1, 2))
    got = squared_displacement(theta, target)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('official', [False, True])
def test_color_descent_beats_its_start_and_the_identity(official, images):
    encoder = ScaleShiftColorEncoder().double()
    found = moments_of('Brightness', images)
    generator = torch.Generator().manual_seed(0)
    fit_color_descent(encoder, found, official, generator, steps=1)
    start = found.error(encoder(MAGNITUDES)).mean()
    generator = torch.Generator().manual_seed(0)
    fit_color_descent(encoder, found, official, generator, steps=80)
    end = found.error(encoder(MAGNITUDES)).mean()
    assert end < 0.6 * start
    assert end < 0.6 * found.identity.mean()
    assert (encoder.gain == 1) != official
    assert not any(value.requires_grad for value in encoder.buffers())


@pytest.mark.parametrize('name', ['Rotate', 'TranslateX'])
def test_affine_descent_comes_near_the_target(name):
    encoder = ConcatAffineEncoder().double()
    generator = torch.Generator().manual_seed(0)
    fit_affine_descent(encoder, name, MAGNITUDES, generator, steps=150)
    targets = torch.stack([affine_target(name, float(m)) for m in MAGNITUDES])
    far = squared_displacement(encoder(MAGNITUDES), targets).sqrt()
    none = torch.eye(2, 3).double()
    before = squared_displacement(none, targets).sqrt()
    assert far.max() < 0.05
    assert far.max() < 0.2 * before.max()
    assert not any(value.requires_grad for value in encoder.buffers())


@pytest.mark.parametrize('network', ['paper', 'official'])
def test_gradient_fits_depend_on_the_seed_alone(network, images, monkeypatch):
    import mmtst.augmentation.prior as module

    descend = module._descend

    def short(encoder, names, loss, steps, rate, decay):
        descend(encoder, names, loss, 3, rate, decay)

    monkeypatch.setattr(module, '_descend', short)
    state = torch.get_rng_state()
    first = fit_prior(network, images[:8], seed=1)
    again = fit_prior(network, images[:8], seed=1)
    other = fit_prior(network, images[:8], seed=2)
    assert torch.get_rng_state().equal(state)
    assert tuple(first) == MAGNITUDE_OPERATORS
    for name, tensors in first.items():
        for key, value in tensors.items():
            assert value.equal(again[name][key])
            assert value.dtype == torch.float32
    assert not first['Color']['feature'].equal(other['Color']['feature'])


@pytest.mark.slow
def test_the_shipped_prior_is_what_the_fit_gives():
    """Refit as the tool does without arguments."""
    images = synthetic_images(256, 32, 0)
    prior = fit_prior('quadratic', images)
    shipped = load_prior(shipped_prior('quadratic'), 'quadratic')
    found = gather_moments(
        [(name, MAGNITUDES) for name in COLOR_OPERATORS], images[:32]
    )
    ours = build_meta_encoders('quadratic', prior).double()
    theirs = build_meta_encoders('quadratic', shipped).double()
    for name, moments in zip(COLOR_OPERATORS, found, strict=True):
        between = moments.power(
            ours[name](MAGNITUDES) - theirs[name](MAGNITUDES)
        )
        # Float sums differ between machines; a stale file differs more.
        assert (between / moments.identity).max() < 1e-3, name
    for name in AFFINE_OPERATORS:
        torch.testing.assert_close(
            ours[name](MAGNITUDES), theirs[name](MAGNITUDES)
        )
