"""Hold the two frames of a warp and the way from one to the other.

*Pixel frame*, used everywhere in the package: a matrix maps source to
destination, in pixels, continuous edge-based coordinates (pixel (i, j) covers
[j, j + 1] x [i, i + 1], so its center is (j + 0.5, i + 0.5)).

*Normalized frame*, used by the paper and by the encoders: a matrix maps
output to input, about the center of the valid region,
``n = (x - w / 2) / (w / 2)`` and likewise in y (``align_corners=False``).

All functions work in float32 at least (float64 is kept), autocast or not, and
multiply elementwise: a reduced-precision matmul would move a point of a
large image by most of a pixel.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

Aspect = Literal['normalized', 'corrected']

_MIN_DETERMINANT = 1e-6


def identity_matrix(
    batch: int,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Tensor:
    """Return ``batch`` identity warps, (B, 2, 3)."""
    return torch.eye(2, 3, dtype=dtype, device=device).repeat(batch, 1, 1)


def compose(outer: Tensor, inner: Tensor) -> Tensor:
    """Chain two warps of the same frame; ``inner`` comes first.

    Args:
        outer: (..., 2, 3), applied second.
        inner: (..., 2, 3), applied first.

    Returns:
        Tensor: (..., 2, 3), ``outer(inner(x))``.
    """
    outer, inner = _at_least_float32(outer), _at_least_float32(inner)
    # (..., row, k) times (..., k, column), summed over k.
    left, right = outer[..., :2].unsqueeze(-1), inner.unsqueeze(-3)
    chained = (left * right).sum(-2)
    shift = chained[..., 2] + outer[..., 2]
    return torch.cat([chained[..., :2], shift.unsqueeze(-1)], dim=-1)


def invert(matrix: Tensor) -> Tensor:
    """Invert warps in closed form.

    Args:
        matrix: (..., 2, 3), in any frame.

    Returns:
        Tensor: (..., 2, 3), the warp back. Exact for the identity.

    Raises:
        ValueError: If a matrix is singular (determinant under 1e-6 in
            absolute value) or not finite; the message names the first one.
    """
    matrix = _at_least_float32(matrix)
    a, b, tx = matrix[..., 0, :].unbind(-1)
    c, d, ty = matrix[..., 1, :].unbind(-1)
    determinant = a * d - b * c
    _check_invertible(matrix.detach(), determinant.detach())
    a, b, c, d = (v / determinant for v in (d, -b, -c, a))
    rows = [
        torch.stack([a, b, -(a * tx + b * ty)], dim=-1),
        torch.stack([c, d, -(c * tx + d * ty)], dim=-1),
    ]
    return torch.stack(rows, dim=-2)


def apply_to_points(matrix: Tensor, points: Tensor) -> Tensor:
    """Move points by a warp.

    Args:
        matrix: (B, 2, 3), or (2, 3) for all alike.
        points: (B, N, 2), (x, y) in the matrix's source frame.

    Returns:
        Tensor: (B, N, 2), (x, y) in its destination frame.
    """
    matrix, points = _at_least_float32(matrix), _at_least_float32(points)
    matrix = matrix.unsqueeze(-3)
    return _multiply(matrix[..., :2], points) + matrix[..., 2]


def from_normalized(
    theta: Tensor, sizes: Tensor, aspect: Aspect = 'normalized'
) -> Tensor:
    """Turn the paper's form into the package's.

    Args:
        theta: (B, 2, 3), output -> input, normalized frame.
        sizes: (B, 2) or (2,), (height, width) of the valid region in pixels.
        aspect: ``normalized`` takes theta as the paper does: on an image
            that is not square its rotation is a rotation and a shear, and
            the tangent of a shear is its factor times w / h (of x by y).
            ``corrected`` takes the linear part in a square frame (half side
            ``sqrt(w * h) / 2`` on both axes), so that a rotation stays one
            and the factor of a shear is its tangent; the translation stays
            relative to w / 2 and h / 2. What is to leave a corner where it
            is goes through :func:`anchor_corner` first.

    Returns:
        Tensor: (B, 2, 3), source -> destination, pixels. An identity gives
        the identity exactly.

    Raises:
        ValueError: If theta is singular or ``aspect`` is unknown.
    """
    if aspect not in get_args(Aspect):
        raise ValueError(
            f'aspect must be one of {get_args(Aspect)}, got {aspect!r}'
        )
    theta = _at_least_float32(theta)
    half = sizes.to(theta).flip(-1) / 2  # also the center, (x, y)
    linear = theta[..., :2]
    if aspect == 'normalized':
        linear = linear * (half.unsqueeze(-1) / half.unsqueeze(-2))
    shift = theta[..., 2] * half + half - _multiply(linear, half)
    return invert(torch.cat([linear, shift.unsqueeze(-1)], dim=-1))


def anchor_corner(change: Tensor, sizes: Tensor) -> Tensor:
    """Let a warp about the upper left corner stay so when it is corrected.

    Of such a warp, I + [D | t] in the normalized frame, the corner (-1, -1)
    is fixed: t = D (1, 1). Under ``aspect='corrected'`` D acts on pixels, for
    which the corner is at (-w / 2, -h / 2), so that t has to be, in units of
    w / 2 and h / 2, D (w, h) / (w, h). Any other t differs from the fixed
    corner's by a translation, which is kept.

    Args:
        change: (B, ..., 2, 3), the warp less the identity, output -> input,
            normalized frame.
        sizes: (B, 2), (height, width) of the valid regions in pixels.

    Returns:
        Tensor: As ``change``, with its last column moved; unchanged for a
        square.
    """
    change = _at_least_float32(change)
    sides = sizes.to(change).flip(-1)
    sides = sides.view(len(sides), *(1,) * (change.dim() - 3), 2)
    # Row i, column j: side j over side i.
    ratio = sides.unsqueeze(-2) / sides.unsqueeze(-1)
    moved = (change[..., :2] * (ratio - 1)).sum(-1)
    shift = (change[..., 2] + moved).unsqueeze(-1)
    return torch.cat([change[..., :2], shift], dim=-1)


def to_normalized(matrix: Tensor, sizes: Tensor) -> Tensor:
    """Turn the package's form into the paper's.

    The inverse of :func:`from_normalized` under ``aspect='normalized'``, and
    what ``torch.nn.functional.affine_grid`` wants.

    Args:
        matrix: (B, 2, 3), source -> destination, pixels.
        sizes: (B, 2) or (2,), (height, width) of the frame in pixels.

    Returns:
        Tensor: (B, 2, 3), output -> input, normalized frame.

    Raises:
        ValueError: If a matrix is singular.
    """
    back = invert(matrix)
    half = sizes.to(back).flip(-1) / 2  # also the center, (x, y)
    linear = back[..., :2]
    shift = (_multiply(linear, half) + back[..., 2] - half) / half
    linear = linear * (half.unsqueeze(-2) / half.unsqueeze(-1))
    return torch.cat([linear, shift.unsqueeze(-1)], dim=-1)


def _check_invertible(matrix: Tensor, determinant: Tensor) -> None:
    """Raise for the first warp that has no inverse."""
    good = determinant.abs() >= _MIN_DETERMINANT  # not so for NaN
    good = good & matrix.isfinite().flatten(-2).all(-1)
    if bool(good.all()):
        return
    index = int((~good).reshape(-1).nonzero()[0])
    raise ValueError(
        f'the warp of image {index} cannot be inverted: its determinant is '
        f'{float(determinant.reshape(-1)[index]):g} (at least '
        f'{_MIN_DETERMINANT:g} in absolute value is needed), its matrix '
        f'{matrix.reshape(-1, 2, 3)[index].tolist()}'
    )


def _multiply(linear: Tensor, vector: Tensor) -> Tensor:
    """Multiply (..., 2, 2) by (..., 2) without a matmul."""
    return (linear * vector.unsqueeze(-2)).sum(-1)


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()
