from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torchvision.transforms import InterpolationMode
from torchvision.transforms.autoaugment import _apply_op

from mmtst.augmentation.base import (
    AFFINE_OPERATORS,
    COLOR_OPERATORS,
    MAGNITUDE_OPERATORS,
)
from mmtst.augmentation.manual_operators import (
    UNSIGNED_OPERATORS,
    affine_target,
    apply_manual,
    bin_magnitude,
    posterize,
)
from mmtst.utils.errors import ConfigError


def images(generator, side: int = 32) -> torch.Tensor:
    coarse = torch.rand(2, 3, 6, 6, generator=generator, dtype=torch.float64)
    smooth = F.interpolate(coarse, (side, side), mode='bicubic')
    return (smooth.clamp(0, 1) * 255).round() / 255


@pytest.mark.parametrize('name', AFFINE_OPERATORS)
@pytest.mark.parametrize('m', [-0.8, 0.3, 1.0])
def test_affine_target_samples_where_the_operator_does(name, m, generator):
    """Sample by the matrix, by hand, and compare the pixels."""
    x = images(generator)
    warped = apply_manual(name, x, m)
    theta = affine_target(name, m)
    grid = F.affine_grid(theta.expand(2, 2, 3), x.shape, align_corners=False)
    sampled = F.grid_sample(x, grid, align_corners=False)
    # Away from what came in from outside, where conventions differ.
    inside = grid.abs().amax(-1) < 1 - 2 / 32
    assert inside.double().mean() > 0.3
    difference = (warped - sampled).abs().amax(1)[inside]
    assert difference.max() < 1e-4
    assert (sampled - x).abs().amax(1)[inside].max() > 0.05


def test_affine_targets_have_the_documented_numbers():
    """The matrices of the published encoders' targets, v = 0.3 m."""
    v = 0.15
    assert affine_target('ShearX', 0.5).tolist() == [[1, v, v], [0, 1, 0]]
    assert affine_target('ShearY', 0.5).tolist() == [[1, 0, 0], [v, 1, v]]
    shift = affine_target('TranslateX', 0.5)
    assert shift[0, 2].item() == pytest.approx(-150 / 331)
    turn = affine_target('Rotate', 1.0)
    half, root = 0.5, math.sqrt(0.75)
    expected = torch.tensor([[root, -half, 0], [half, root, 0]])
    torch.testing.assert_close(turn, expected.double())


@pytest.mark.parametrize('name', AFFINE_OPERATORS)
def test_content_moves_the_documented_way(name, generator):
    """Rotate counter-clockwise, shear about the top left, right and down."""
    image = torch.zeros(1, 3, 41, 41, dtype=torch.float64)
    image[..., 28:33, 28:33] = 1  # lower right of the center
    moved = apply_manual(name, image, 0.3)[0, 0]
    rows, columns = moved.nonzero().double().mean(0).tolist()
    before = 30.0
    if name == 'Rotate':
        # By 9 degrees about the center, 14 pixels away.
        assert rows == pytest.approx(before - 1.7, abs=0.6)
        assert columns == pytest.approx(before + 1.4, abs=0.6)
    elif name in ('TranslateX', 'TranslateY'):
        shift = 0.3 * 150 / 331 * 41
        right = name == 'TranslateX'
        assert columns - before == pytest.approx(shift * right, abs=0.6)
        assert rows - before == pytest.approx(shift * (not right), abs=0.6)
    else:
        # Output -> input adds v y, so that content moves left or up.
        along = columns if name == 'ShearX' else rows
        other = rows if name == 'ShearX' else columns
        assert along - before == pytest.approx(-0.09 * 30.5, abs=0.6)
        assert other == pytest.approx(before, abs=0.6)


def test_pixels_at_the_border_are_weighed_once():
    """White on black, moved by 0.4 * 150/331 * 8 = 1.45 pixels.

    Column 1, whose center is at 1.5, comes from 0.05: 0.45 of it from
    outside, 0.55 from column 0.
    """
    white = torch.ones(1, 3, 8, 8, dtype=torch.float64)
    shift = 0.4 * 150 / 331 * 8
    inside = 2 - shift  # 0.550
    assert inside == pytest.approx(0.550, abs=5e-4)
    row = torch.tensor([0, inside, 1, 1, 1, 1, 1, 1]).double()
    for name in ('TranslateX', 'TranslateY'):
        moved = apply_manual(name, white, 0.4)
        moved = moved if name == 'TranslateX' else moved.transpose(2, 3)
        torch.testing.assert_close(moved, row.expand(1, 3, 8, 8))
    # So are those that are blended with a color.
    color = [0.2, 0.4, 0.6]
    blended = apply_manual('TranslateX', white, 0.4, fill=color)
    fill = torch.tensor(color).double()[:, None, None]
    expected = row * 1 + (1 - row) * fill
    torch.testing.assert_close(blended, expected.expand(1, 3, 8, 8))


@pytest.mark.parametrize('name', AFFINE_OPERATORS)
@pytest.mark.parametrize('m', [-0.7, 0.4])
def test_the_border_is_that_of_the_matrix_too(name, m, generator):
    """All pixels of a square image, as one bilinear sampling has them."""
    x = images(generator)
    theta = affine_target(name, m).expand(2, 2, 3)
    grid = F.affine_grid(theta, x.shape, align_corners=False)
    expected = F.grid_sample(x, grid, align_corners=False)
    torch.testing.assert_close(
        apply_manual(name, x, m), expected, rtol=0, atol=1e-4
    )


# RandAugment's own implementation, at its ten bins.
@pytest.mark.parametrize('name', MAGNITUDE_OPERATORS)
@pytest.mark.parametrize('m', [0.0, 0.05, 0.34, 0.67, 0.99, 1.0, -0.45, -1.0])
def test_binned_operators_are_those_of_randaugment(name, m, generator):
    if m < 0 and name in UNSIGNED_OPERATORS:
        return
    i = min(int(10 * abs(m)), 9)
    q = math.copysign(i / 9, m)
    magnitude = {
        'Rotate': 30 * q,
        'ShearX': 0.3 * q,
        'ShearY': 0.3 * q,
        'TranslateX': float(int(150 / 331 * 32 * q)),
        'TranslateY': float(int(150 / 331 * 32 * q)),
        'Posterize': [8, 8, 7, 7, 6, 6, 5, 5, 4, 4][i],
        'Solarize': 255.0 * (1 - q),
    }.get(name, 0.9 * q)
    x = images(generator)
    values = (x * 255).round()
    if name in COLOR_OPERATORS:
        values = values.to(torch.uint8)
    bilinear = InterpolationMode.BILINEAR
    expected = _apply_op(values, name, magnitude, bilinear, None).double()
    difference = apply_manual(name, x, m, binned=True) * 255 - expected
    if name in AFFINE_OPERATORS:
        # Away from what came in from outside.
        ones = torch.ones_like(x)
        inside = _apply_op(ones, name, magnitude, bilinear, None) > 0.999
        assert inside.double().mean() > 0.3
        assert difference[inside].abs().max() < 1e-6
    elif name == 'Posterize':
        assert difference.abs().max() < 1e-6
    elif name == 'Solarize':
        # Values at the threshold itself are a matter of rounding.
        off = (values.double() - magnitude).abs() > 1e-6
        assert difference[off].abs().max() < 1e-6
    else:
        # On 8 bits the classic operators cut fractions off, twice.
        assert difference.abs().max() < 2


def test_binned_magnitudes():
    assert [bin_magnitude(m / 10) * 9 for m in range(11)] == pytest.approx(
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9]
    )
    assert bin_magnitude(-0.35) == pytest.approx(-1 / 3)


@pytest.mark.parametrize('name', MAGNITUDE_OPERATORS)
def test_is_the_identity_at_zero_and_grows_from_there(name, generator):
    x = images(generator)
    errors = [
        (apply_manual(name, x, m) - x).square().mean().item()
        for m in (0.0, 1e-3, 0.25, 0.5, 0.75, 1.0)
    ]
    if name == 'Solarize':
        # White, all of 255, is inverted from the start.
        assert x.max() == 1.0
        share = x.eq(1).double().mean().item()
        assert errors[0] == pytest.approx(share)
    else:
        assert errors[0] < 1e-12
        # Continuous.
        assert errors[1] < 1e-3 * errors[-1]
    assert errors == sorted(errors)


@pytest.mark.parametrize('bits', range(1, 9))
def test_posterize_at_whole_bits_is_the_classic_operator(bits, generator):
    values = torch.arange(256, dtype=torch.float64)
    mask = (0xFF << (8 - bits)) & 0xFF
    expected = torch.tensor([value & mask for value in range(256)])
    got = posterize(values / 255, bits) * 255
    torch.testing.assert_close(got, expected.double())


def test_posterize_blends_between_whole_bits():
    values = torch.arange(256, dtype=torch.float64) / 255
    between = posterize(values, 5.25)
    blend = 0.75 * posterize(values, 5) + 0.25 * posterize(values, 6)
    torch.testing.assert_close(between, blend)


def test_wrong_names_and_magnitudes_are_refused(generator):
    x = images(generator)
    with pytest.raises(ConfigError, match=r'Rotate, .*, Sharpness'):
        apply_manual('Twist', x, 0.5)
    with pytest.raises(ConfigError, match='TranslateY'):
        affine_target('Color', 0.5)
    with pytest.raises(ConfigError, match='-1 to 1'):
        apply_manual('Color', x, 1.2)
    with pytest.raises(ConfigError, match='0 to 1'):
        apply_manual('Solarize', x, -0.5)


def test_inputs_are_left_alone(generator):
    x = images(generator)
    kept = x.clone()
    for name in MAGNITUDE_OPERATORS:
        apply_manual(name, x, 0.7)
        assert x.equal(kept), name
