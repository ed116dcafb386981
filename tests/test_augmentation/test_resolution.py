"""Test what a draw becomes under a policy against the formulas."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2.functional import affine as tv_affine

from mmtst.augmentation import AugmentationEncoder, Policy
from mmtst.augmentation.base import AFFINE_OPERATORS
from mmtst.augmentation.manual_operators import apply_manual
from mmtst.geometry import invert, warp_images

SIZES = torch.tensor([[24.0, 32.0], [20.0, 32.0], [24.0, 17.0]])


def test_resolve_follows_the_formulas_of_the_presets(generator):
    policy = Policy(torch.randn(14), torch.randn(11))
    for preset, tau in (('default', None), ('paper', 0.3), ('official', 1)):
        encoder = AugmentationEncoder(preset=preset)
        draw = encoder.draw(SIZES, generator)
        record = encoder.resolve(draw, policy, tau)
        tau = 0.05 if tau is None else tau
        p, m = policy.probabilities, policy.magnitudes
        location = {
            'default': torch.log(p / (1 - p)),
            'paper': torch.log(p),
            'official': p,
        }[preset]
        gates = 1 / (1 + torch.exp(-(location + draw.gate_noise) / tau))
        torch.testing.assert_close(
            record.gates, gates * draw.selected, rtol=1e-3, atol=1e-6
        )
        if preset == 'paper':
            m = torch.sigmoid((m.log() + draw.magnitude_noise) / tau)
        expected = m.expand(3, 11)
        torch.testing.assert_close(
            record.magnitudes, expected, rtol=1e-3, atol=1e-6
        )
        if preset == 'default':
            assert record.apply_gates.eq(1).all()
        else:
            logit = torch.log(torch.tensor(0.98 / 0.02))
            gates = torch.sigmoid((logit + draw.apply_noise) / tau)
            torch.testing.assert_close(record.apply_gates, gates)


def test_gates_too_low_to_be_seen_are_shut_but_in_a_search(generator):
    """exp(-15) = 3e-7 is more than half a float32's rounding of 1."""
    encoder = AugmentationEncoder(num_operators=14)
    draw = encoder.draw(SIZES, generator)
    noise = draw.gate_noise.new_tensor([[-15.0], [-18.0], [-40.0]])
    draw = replace(draw, gate_noise=(0.05 * noise).expand(3, 14))

    def opened(policy):
        gates = encoder.resolve(draw, policy).gates
        return [row.gt(0).unique().tolist() for row in gates]

    policy = Policy(torch.zeros(14), torch.zeros(11))
    assert opened(policy) == [[True], [False], [False]]
    double = Policy(policy.th_p.double(), policy.th_m.double())
    assert opened(double) == [[True], [True], [False]]
    searched = policy.leaf()
    assert opened(searched) == [[True], [True], [True]]
    encoder.resolve(draw, searched).gates[1:].sum().backward()
    assert searched.th_p.grad.gt(0).all()


def test_shrink_moves_the_matrix_toward_the_identity(generator):
    encoder = AugmentationEncoder(num_operators=14)
    draw = encoder.draw(SIZES, generator)
    none = encoder.resolve(draw.with_shrink(torch.zeros(3)))
    identity = torch.eye(2, 3).expand(3, 2, 3)
    assert none.matrix.equal(identity)
    little = encoder.resolve(draw.with_shrink(torch.full((3,), 0.1)))
    full = encoder.resolve(draw)
    moved = (little.matrix - identity).flatten(1).norm(dim=1)
    assert bool((moved > 0).all())
    assert bool(
        (moved < (full.matrix - identity).flatten(1).norm(dim=1)).all()
    )
    assert none.gates.equal(full.gates)


def test_matrix_is_the_sum_of_the_open_operators(generator):
    """Eq. 6 on a square: rotation and translation, both fully open."""
    encoder = AugmentationEncoder(num_operators=2)
    sizes = torch.tensor([[40.0, 40.0]])
    names = ['Rotate', 'TranslateX']
    draw = encoder.draw(sizes, generator, operators=names)
    draw = replace(draw, gate_noise=torch.full((1, 14), 1e4))
    th_m = torch.full((11,), 100.0)
    record = encoder.resolve(draw, Policy(torch.zeros(14), th_m))
    # Output -> input about the center, in pixels: 30 degrees, and content
    # moves right by 150/331 of 40.
    angle = torch.tensor(torch.pi / 6)
    turn = torch.stack(
        [
            torch.stack([angle.cos(), -angle.sin()]),
            torch.stack([angle.sin(), angle.cos()]),
        ]
    )
    center = torch.tensor([20.0, 20.0])
    source = torch.tensor([3.0, 5.0])
    shift = torch.tensor([-150 / 331 * 40, 0.0])
    target = torch.linalg.solve(turn, source - center - shift) + center
    moved = record.matrix[0, :, :2] @ source + record.matrix[0, :, 2]
    torch.testing.assert_close(moved, target, rtol=1e-4, atol=1e-3)


# On oblong images: torchvision's operators, on pixels or on a square.
M = (-0.6, 0.35, 1.0)
OBLONG = [(800, 1333), (160, 96)]


def torchvision_operator(name, image, m):
    """Apply RandAugment's operator as torchvision has it, without fill."""
    height, width = image.shape[-2:]
    options = dict(angle=0.0, translate=[0.0, 0.0], shear=[0.0, 0.0])
    if name == 'Rotate':
        options['angle'] = -30.0 * m  # clockwise
    elif name.startswith('Shear'):
        axis = 'XY'.index(name[-1])
        options['shear'][axis] = math.degrees(math.atan(0.3 * m))
        options['center'] = [0, 0]
    elif name == 'TranslateX':
        options['translate'][0] = 150 / 331 * width * m
    else:
        options['translate'][1] = 150 / 331 * height * m
    return tv_affine(
        image, scale=1.0, interpolation=InterpolationMode.BILINEAR, **options
    )


def operator_matrix(name, size, m, **options):
    """Return where the encoder's operator moves things, (1, 2, 3)."""
    encoder = AugmentationEncoder(num_operators=1, **options)
    generator = torch.Generator().manual_seed(0)
    draw = encoder.draw(torch.tensor([size]).double(), generator, [name])
    draw = replace(
        draw, mirror=torch.full_like(draw.mirror, math.copysign(1, m))
    )
    strength = torch.tensor(abs(m)).double().clamp(max=1 - 1e-12)
    policy = Policy(
        torch.full((14,), 50.0).double(), torch.logit(strength).expand(11)
    )
    record = encoder.resolve(draw, policy)
    if record.image_matrices is None:
        return record.matrix
    return record.image_matrices[:, AFFINE_OPERATORS.index(name)]


def coordinates(height, width):
    """Paint x, y and 1 at the centers of pixels, (1, 3, H, W)."""
    x = (torch.arange(width).double() + 0.5).expand(height, width)
    y = (torch.arange(height).double() + 0.5)[:, None].expand(height, width)
    return torch.stack([x, y, torch.ones_like(x)])[None]


@cache
def torchvision_map(name, size, m):
    """Read off an image of coordinates where torchvision samples it.

    Returns:
        (2, 3), output -> input, pixels.
    """
    painted = coordinates(*size)
    x, y, inside = torchvision_operator(name, painted, m)[0]
    whole = inside > 1 - 1e-9
    points = painted[0][:, whole].T  # x, y, 1
    source = torch.stack([x[whole], y[whole]], 1)
    return torch.linalg.lstsq(points, source).solution.T


@pytest.mark.parametrize('m', M)
@pytest.mark.parametrize('name', AFFINE_OPERATORS)
@pytest.mark.parametrize('size', OBLONG, ids=str)
@pytest.mark.parametrize('composition', ['matrix_sum', 'image_sum'])
def test_corrected_operators_are_torchvisions(name, size, m, composition):
    """The corners of the image come from where torchvision's do."""
    height, width = size
    options = dict(aspect='corrected', composition=composition)
    back = invert(operator_matrix(name, size, m, **options))[0]
    corners = torch.tensor(
        [[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]]
    ).double()
    expected = corners @ torchvision_map(name, size, m).T
    torch.testing.assert_close(corners @ back.T, expected, rtol=0, atol=2e-3)
    assert (expected - corners[:, :2]).abs().max() > 5


@pytest.mark.parametrize('m', M)
@pytest.mark.parametrize('name', AFFINE_OPERATORS)
@pytest.mark.parametrize('size', OBLONG, ids=str)
def test_normalized_operators_are_torchvisions_on_a_square(name, size, m):
    """Squeezed to a square, moved there, and stretched back."""
    height, width = size
    side = 64
    back = invert(operator_matrix(name, size, m))[0]
    squeeze = torch.tensor([side / width, side / height, 1]).double()
    corners = torch.tensor(
        [[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]]
    ).double()
    on_square = (corners * squeeze) @ torchvision_map(name, (side, side), m).T
    expected = on_square / squeeze[:2]
    torch.testing.assert_close(corners @ back.T, expected, rtol=0, atol=2e-3)


@pytest.mark.parametrize('m', M)
@pytest.mark.parametrize('name', AFFINE_OPERATORS)
def test_corrected_pixels_are_torchvisions(name, m, generator):
    coarse = torch.rand(1, 3, 7, 9, generator=generator, dtype=torch.float64)
    image = F.interpolate(coarse, (60, 100), mode='bilinear')
    sizes = torch.tensor([[60.0, 100]]).double()
    matrix = operator_matrix(name, (60, 100), m, aspect='corrected')
    torch.testing.assert_close(
        warp_images(image, matrix, sizes),
        torchvision_operator(name, image, m),
        rtol=0,
        atol=1e-4,
    )
    by_hand = apply_manual(name, image, m)
    torch.testing.assert_close(
        by_hand, torchvision_operator(name, image, m), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize('preset', ['default', 'paper', 'official'])
def test_aspects_agree_on_squares_bit_for_bit(preset, generator):
    sizes = torch.tensor([[64.0, 64.0], [33.0, 33.0]])
    records = []
    for aspect in ('normalized', 'corrected'):
        encoder = AugmentationEncoder(
            preset=preset, num_operators=14, aspect=aspect
        )
        if not records:
            draw = encoder.draw(sizes, generator)
        records.append(encoder.resolve(draw))
    first, second = records
    assert first.matrix.equal(second.matrix)
