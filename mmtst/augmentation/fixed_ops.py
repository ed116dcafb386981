"""Apply the operators that have a probability but no magnitude.

All are for raw images, RGB in [0, 1], and touch only the valid region of
each: rows before its height, columns before its width. Invert is linear and
given as a kernel, so that it joins the convolution of the learned ones.
"""

from __future__ import annotations

import torch
import torchvision.transforms.functional as tvf
from torch import Tensor

from mmtst.augmentation.color_encoder import center_tap


def equalize(raw: Tensor, sizes: Tensor) -> Tensor:
    """Equalize the histogram of each channel of each valid region.

    Args:
        raw: (B, 3, H, W); values outside [0, 1] are clipped.
        sizes: (B, 2), (height, width) in pixels.

    Returns:
        (B, 3, H, W), 8-bit values divided by 255 inside the valid regions,
        ``raw`` outside. No gradient: the operator is a step function.
    """
    result = raw.detach().clone()
    for image, (height, width) in zip(result, sizes.tolist(), strict=True):
        region = image[:, : int(height), : int(width)]
        values = region.mul(255).round().clamp(0, 255).to(torch.uint8)
        region.copy_(tvf.equalize(values).to(raw.dtype) / 255)
    return result


def invert_kernel(like: Tensor) -> Tensor:
    """Return the kernel of what Invert adds, (1 - x) - x = -2 (x - 1/2).

    Args:
        like: Gives the device and the type.

    Returns:
        (3, 4, 5, 5), for three channels of x - 1/2 and the valid region.
    """
    channels = torch.eye(3, 4, dtype=like.dtype, device=like.device)
    return -2 * channels[:, :, None, None] * center_tap(like)


def cutout_mask(
    centers: Tensor, sizes: Tensor, fraction: float, height: int, width: int
) -> Tensor:
    """Mark one square in each image, cut off at the valid region.

    Args:
        centers: (B, 2), (x, y) in [0, 1] of the valid region.
        sizes: (B, 2), (height, width) in pixels.
        fraction: The side of the square, as a fraction of sqrt(h w).
        height: Rows of the padded batch.
        width: Columns of the padded batch.

    Returns:
        (B, H, W), bool; pixels whose centers lie in the square.
    """
    reach = 0.5 * fraction * sizes.prod(dim=1).sqrt()
    inside = []
    for axis, length in ((0, height), (1, width)):
        place = torch.arange(length, device=sizes.device) + 0.5
        center = centers[:, 1 - axis] * sizes[:, axis]
        near = (place - center[:, None]).abs() < reach[:, None]
        inside.append(near & (place < sizes[:, axis, None]))
    return inside[0][:, :, None] & inside[1][:, None, :]


def cutout(
    raw: Tensor,
    centers: Tensor,
    sizes: Tensor,
    fraction: float,
    fill: Tensor,
) -> Tensor:
    """Paint one square in each image with one color.

    Args:
        raw: (B, 3, H, W).
        centers: (B, 2), (x, y) in [0, 1] of the valid region.
        sizes: (B, 2), (height, width) in pixels.
        fraction: The side of the square, as a fraction of sqrt(h w).
        fill: (3,), the color.

    Returns:
        (B, 3, H, W).
    """
    height, width = raw.shape[-2:]
    mask = cutout_mask(centers, sizes, fraction, height, width)
    return torch.where(mask.unsqueeze(1), fill.view(1, 3, 1, 1), raw)
