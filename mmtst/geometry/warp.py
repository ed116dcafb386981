"""Move the pixels of a padded batch by its warps."""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from mmtst.geometry.affine import invert

Mode = Literal['bilinear', 'nearest']


def warp_images(
    images: Tensor,
    matrix: Tensor,
    sizes: Tensor,
    fill: Tensor | float = 0.0,
    mode: Mode = 'bilinear',
) -> Tensor:
    """Warp each image about its own valid region.

    What comes from outside the valid region is ``fill``, blended at the
    border like any other neighbor; the padding stays what it was. Grids are
    float32 at least, under autocast too. Differentiable in ``images`` and in
    ``matrix`` (in ``matrix`` not under ``nearest``, whose gradient there is
    zero everywhere).

    Args:
        images: (B, C, H, W), padded at the right and at the bottom.
        matrix: (B, 2, 3), source -> destination, pixels.
        sizes: (B, 2), (height, width) of the valid regions in pixels.
        fill: A number, (C,) or (B, C), in the units of ``images``.
        mode: ``bilinear`` or ``nearest``.

    Returns:
        Tensor: (B, C, H, W), of the dtype of ``images``.

    Raises:
        ValueError: If a matrix is singular, a size exceeds the images, or
            the mode is unknown.
    """
    if mode not in get_args(Mode):
        raise ValueError(f'mode must be one of {get_args(Mode)}, got {mode!r}')
    dtype = torch.promote_types(images.dtype, torch.float32)
    height, width = images.shape[-2:]
    valid = mask_of_padded(sizes, height, width)
    is_zero = not isinstance(fill, Tensor) and fill == 0
    fill = torch.as_tensor(fill, dtype=dtype, device=images.device)
    fill = fill.view(*(1,) * (2 - fill.dim()), *fill.shape)[..., None, None]
    with torch.autocast(images.device.type, enabled=False):
        # Into [-1, 1] before it is spread over all pixels.
        back = invert(matrix)
        back = back * (2 / back.new_tensor([[width], [height]]))
        back = back - back.new_tensor([0, 0, 1])
        grid = _spread(back, height, width).to(dtype)
        # Sampling is linear, so that zeros outside of the difference to fill
        # blend to fill: one sampling instead of one more for a mask.
        masked = images.to(dtype)
        if not is_zero:
            masked = masked - fill
        if valid is not None:
            masked = torch.where(valid, masked, 0.0)
        warped = F.grid_sample(masked, grid, mode, 'zeros', False)
        if not is_zero:
            warped = warped + fill
        warped = warped.to(images.dtype)
    return warped if valid is None else torch.where(valid, warped, images)


def source_points(matrix: Tensor, height: int, width: int) -> Tensor:
    """Find where each pixel's center comes from.

    Args:
        matrix: (B, 2, 3), source -> destination, pixels.
        height: Rows of the canvas.
        width: Columns of the canvas.

    Returns:
        Tensor: (B, H, W, 2), (x, y) in the source, pixels.

    Raises:
        ValueError: If a matrix is singular.
    """
    return _spread(invert(matrix), height, width)


def _spread(back: Tensor, height: int, width: int) -> Tensor:
    """Apply matrices (B, 2, 3) to all pixel centers, (B, H, W, 2)."""
    x = torch.arange(width, dtype=back.dtype, device=back.device) + 0.5
    y = torch.arange(height, dtype=back.dtype, device=back.device) + 0.5
    rows = back[:, None, None]
    along_x = rows[..., 0] * x[:, None]
    along_y = rows[..., 1] * y[:, None, None]
    return along_x + (along_y + rows[..., 2])


def mask_of_padded(sizes: Tensor, height: int, width: int) -> Tensor | None:
    """Mark the valid regions of a batch, if any of its images is padded.

    Args:
        sizes: (B, 2), (height, width) of the valid regions in pixels.
        height: Rows of the canvas.
        width: Columns of the canvas.

    Returns:
        Tensor: (B, 1, H, W), bool; ``None`` where all is valid.

    Raises:
        ValueError: If a valid region exceeds the canvas.
    """
    if bool((sizes == sizes.new_tensor([height, width])).all()):
        return None
    return valid_mask(sizes, height, width).unsqueeze(1)


def valid_mask(sizes: Tensor, height: int, width: int) -> Tensor:
    """Mark the pixels of the valid regions.

    Args:
        sizes: (B, 2), (height, width) of the valid regions in pixels.
        height: Rows of the canvas.
        width: Columns of the canvas.

    Returns:
        Tensor: (B, H, W), bool.

    Raises:
        ValueError: If a valid region exceeds the canvas.
    """
    canvas = sizes.new_tensor([height, width])
    if bool((sizes > canvas).any()):
        raise ValueError(
            'the valid region, (height, width), exceeds the canvas of '
            f'{(height, width)}: {sizes.tolist()}'
        )
    y = torch.arange(height, device=sizes.device) + 0.5
    x = torch.arange(width, device=sizes.device) + 0.5
    rows = y[None, :, None] < sizes[:, 0, None, None]
    columns = x[None, None, :] < sizes[:, 1, None, None]
    return rows & columns
