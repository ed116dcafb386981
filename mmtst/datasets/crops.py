"""Crop and flip whole batches of small images, on any device.

The usual augmentation for CIFAR: black borders, a random part of the former
size, a random horizontal flip.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad


def draw_crops(
    count: int,
    padding: int,
    flip: float,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw where each image of a batch is cropped, and whether it is flipped.

    Args:
        count: Number of images B.
        padding: Border in pixels; 0 leaves images where they are.
        flip: Probability of a flip, in [0, 1].
        generator: On the CPU; ``None`` for torch's global one, from which
            one call is made.

    Returns:
        (3, B), long, on the CPU: first row and first column of the crop in
        the bordered image, in pixels from 0 to 2 * padding, each equally
        likely; and 1 for a flip, else 0.
    """
    drawn = torch.rand((3, count), dtype=torch.float64, generator=generator)
    # In double precision the product stays below an odd number.
    crops = (drawn * (2 * padding + 1)).long()
    crops[2] = drawn[2] < flip
    return crops


def crop_and_flip(images: Tensor, crops: Tensor, padding: int) -> Tensor:
    """Crop each image of a batch at its place, then flip some.

    Args:
        images: (B, C, H, W), of any type.
        crops: (3, B), as :func:`draw_crops` gives them, on the images'
            device.
        padding: Width of the border of zeros, in pixels.

    Returns:
        (B, C, H, W), new.
    """
    height, width = images.shape[-2:]
    top, left, flipped = crops[:, :, None]
    rows = torch.arange(height, device=images.device) + top
    columns = torch.arange(width, device=images.device).expand(len(images), -1)
    columns = torch.where(flipped > 0, width - 1 - columns, columns) + left
    # One index for each pixel, the same in all channels.
    stride = width + 2 * padding
    index = (rows[:, :, None] * stride + columns[:, None, :]).flatten(1)
    bordered = pad(images, (padding,) * 4).flatten(2)
    index = index[:, None].expand(-1, images.shape[1], -1)
    return bordered.gather(2, index).view_as(images)
