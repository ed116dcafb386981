"""A kernel for each image, against one image after the other, as it is."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmtst.augmentation import convolution
from mmtst.augmentation.convolution import convolve, in_blocks
from mmtst.geometry import mask_of_padded

SIZES = [[18.0, 24.0], [14.0, 23.0], [17.0, 17.0], [15.6, 20.4]]


def plainly(images: Tensor, sizes: Tensor, kernels: Tensor) -> Tensor:
    """Return what is expected, zero beyond the valid regions."""
    mask = mask_of_padded(sizes, *images.shape[-2:])
    mask = torch.ones_like(images[:, :1]) if mask is None else mask.double()
    inputs = torch.cat([images * mask, mask], dim=1)
    each = [
        F.conv2d(image[None], kernel, padding=2)
        for image, kernel in zip(inputs, kernels, strict=True)
    ]
    return torch.cat(each) * mask


class Elsewhere(torch.Tensor):
    """Pretend to lie on another device."""

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return torch.device('meta')


@pytest.mark.parametrize('on_cpu', [False, True])
@pytest.mark.parametrize('whole', [False, True])
@pytest.mark.parametrize('shape', [(18, 24), (19, 25), (18, 25)])
@pytest.mark.parametrize('small', [0, 10_000])
def test_every_way_is_the_convolution(
    shape: tuple[int, int],
    whole: bool,
    on_cpu: bool,
    small: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(convolution, '_SMALL', small)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(4, 3, *shape, generator=generator).double()
    kernels = torch.randn(4, 3, 4, 5, 5, generator=generator).double()
    sizes = torch.tensor([shape] * 4 if whole else SIZES).double()
    valid = mask_of_padded(sizes, *shape)
    assert (valid is None) == whole
    expected = plainly(images, sizes, kernels)
    given = images if on_cpu else images.as_subclass(Elsewhere)
    found = convolve(given, sizes, valid, kernels).as_subclass(torch.Tensor)
    found = found if valid is None else found * valid
    torch.testing.assert_close(found, expected)
    assert found.is_contiguous()


def test_gradients_are_those_of_the_convolution() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 7, 9, generator=generator).double()
    kernels = torch.randn(2, 3, 4, 5, 5, generator=generator).double()
    sizes = torch.tensor([[7.0, 9.0], [6.0, 7.0]])
    valid = mask_of_padded(sizes, 7, 9)
    leaves = (images.requires_grad_(), kernels.requires_grad_())
    weights = torch.rand(2, 3, 7, 9, generator=generator).double()
    expected = torch.autograd.grad(
        (plainly(images, sizes, kernels) * weights).sum(), leaves
    )
    found = convolve(images, sizes, valid, kernels) * valid
    found = torch.autograd.grad((found * weights).sum(), leaves)
    torch.testing.assert_close(found, expected)


def test_blocks_hold_every_tap_once_for_each_place() -> None:
    kernels = torch.arange(1.0, 26).view(1, 1, 1, 5, 5)
    blocks = in_blocks(kernels)
    assert blocks.shape == (1, 4, 4, 3, 3)
    for channel in blocks[0]:
        taps = channel[channel > 0].sort().values
        assert taps.tolist() == list(range(1, 26))
