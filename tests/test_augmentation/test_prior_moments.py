"""Test the moments against the images they stand for."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mmtst.augmentation.manual_operators import apply_manual
from mmtst.augmentation.prior_moments import gather_moments, merge_moments

MAGNITUDES = torch.tensor([0.2, 0.5, 1.0], dtype=torch.float64)


def moments_of(name, images, magnitudes=MAGNITUDES):
    return gather_moments([(name, magnitudes)], images)[0]


def run(kernel: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    inputs = torch.cat([x - 0.5, torch.ones_like(x[:, :1])], dim=1)
    return F.conv2d(inputs, kernel, padding=2)


@pytest.mark.parametrize('name', ['Contrast', 'Posterize'])
def test_moments_give_the_error_of_any_kernel(name, images, generator):
    """The same as running the convolution over every image."""
    kernels = 0.05 * torch.randn(3, 3, 4, 5, 5, generator=generator).double()
    found = moments_of(name, images)
    for i, m in enumerate(MAGNITUDES.tolist()):
        change = run(kernels[i], images)
        target = apply_manual(name, images, m) - images
        error = (change - target).square().mean()
        assert found.error(kernels)[i].item() == pytest.approx(
            error.item(), rel=1e-3
        )
        assert found.identity[i].item() == pytest.approx(
            target.square().mean().item(), rel=1e-4
        )
        assert found.power(kernels)[i].item() == pytest.approx(
            change.square().mean().item(), rel=1e-3
        )


def test_moments_of_several_operators_stay_apart(images):
    together = gather_moments(
        [('Color', MAGNITUDES), ('Solarize', MAGNITUDES[:2])], images
    )
    color = moments_of('Color', images)
    solarize = moments_of('Solarize', images, MAGNITUDES[:2])
    for got, expected in zip(together, (color, solarize), strict=True):
        assert got.magnitudes.equal(expected.magnitudes)
        torch.testing.assert_close(got.cross, expected.cross)
        torch.testing.assert_close(got.identity, expected.identity)
    merged = merge_moments([color, color])
    assert len(merged.identity) == len(merged.cross) == 6
