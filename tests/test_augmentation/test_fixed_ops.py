from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps

from mmtst.augmentation.fixed_ops import (
    cutout,
    cutout_mask,
    equalize,
    invert_kernel,
)

# More than 255 pixels each: equalizing fewer is the identity.
SIZES = torch.tensor([[20.0, 28.0], [14.0, 28.0], [20.0, 15.0]])


def images(generator) -> torch.Tensor:
    values = torch.randint(40, 200, (3, 3, 20, 28), generator=generator)
    return values.double() / 255


def test_equalize_is_that_of_pil_on_the_valid_region_alone(generator):
    raw = images(generator)
    result = equalize(raw, SIZES)
    expected = raw.clone()
    for i, (h, w) in enumerate(SIZES.int().tolist()):
        region = (raw[i, :, :h, :w] * 255).round().byte()
        picture = Image.fromarray(region.permute(1, 2, 0).numpy())
        bytes_ = bytearray(ImageOps.equalize(picture).tobytes())
        values = torch.frombuffer(bytes_, dtype=torch.uint8).view(h, w, 3)
        expected[i, :, :h, :w] = values.permute(2, 0, 1).double() / 255
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-12)
    assert not result[0].equal(raw[0])


def test_equalize_clips_and_leaves_its_input_alone():
    raw = torch.linspace(-0.5, 1.5, 60).view(1, 3, 4, 5)
    kept = raw.clone()
    result = equalize(raw, torch.tensor([[4.0, 5.0]]))
    assert raw.equal(kept)
    assert result.min() >= 0
    assert result.max() <= 1


def test_invert_adds_what_makes_one_minus_the_image(generator):
    raw = images(generator)
    inputs = torch.cat([raw - 0.5, torch.ones_like(raw[:, :1])], dim=1)
    change = F.conv2d(inputs, invert_kernel(raw), padding=2)
    torch.testing.assert_close(raw + change, 1 - raw)


@pytest.mark.parametrize('fraction', [0.125, 0.5, 1.0])
def test_cutout_paints_the_square_pixel_by_pixel(fraction, generator):
    raw = images(generator)
    centers = torch.tensor([[0.5, 0.5], [0.0, 1.0], [0.9, 0.2]])
    fill = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    result = cutout(raw, centers, SIZES, fraction, fill)
    expected = raw.clone()
    for i, (h, w) in enumerate(SIZES.tolist()):
        half = fraction * math.sqrt(h * w) / 2
        for row in range(int(h)):
            for column in range(int(w)):
                far_x = abs(column + 0.5 - float(centers[i, 0]) * w)
                far_y = abs(row + 0.5 - float(centers[i, 1]) * h)
                if max(far_x, far_y) < half:
                    expected[i, :, row, column] = fill
    assert result.equal(expected)
    assert not result[0].equal(raw[0])


def test_cutout_has_the_area_asked_for():
    sizes = torch.tensor([[64.0, 100.0]])
    mask = cutout_mask(torch.tensor([[0.5, 0.5]]), sizes, 0.25, 64, 100)
    assert mask.sum().item() == (0.25 * 80) ** 2
