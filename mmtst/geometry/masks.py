"""Move label maps, bitmap masks and polygons by a warp."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mmtst.geometry.warp import source_points, valid_mask

Polygon = npt.NDArray[Any]


@torch.no_grad()
def warp_label_map(
    labels: Tensor, matrix: Tensor, size: Tensor, fill: int
) -> Tensor:
    """Warp a map of labels, each pixel taking its nearest source.

    Labels are moved, not computed with: any integer dtype, any value.

    Args:
        labels: (H, W) or (1, H, W), padded like the image or as large as its
            valid region.
        matrix: (2, 3), source -> destination, pixels.
        size: (2,), (height, width) of the valid region in pixels.
        fill: Label of what comes from outside the valid region.

    Returns:
        Tensor: Of the shape and dtype of ``labels``. The padding stays what
        it was.

    Raises:
        ValueError: If the matrix is singular or the map smaller than the
            valid region.
    """
    return _gather_nearest(labels, matrix, size, fill)


@torch.no_grad()
def warp_bitmaps(masks: Tensor, matrix: Tensor, size: Tensor) -> Tensor:
    """Warp the masks of instances, each pixel taking its nearest source.

    Args:
        masks: (N, H, W), bool or integer, padded like the image or as large
            as its valid region.
        matrix: (2, 3), source -> destination, pixels.
        size: (2,), (height, width) of the valid region in pixels.

    Returns:
        Tensor: (N, H, W), of the dtype of ``masks``, 0 where the source lies
        outside the valid region. The padding stays what it was.

    Raises:
        ValueError: If the matrix is singular or the masks smaller than the
            valid region.
    """
    return _gather_nearest(masks, matrix, size, 0)


def warp_polygons(
    objects: Sequence[Sequence[Polygon]],
    matrix: Tensor,
    size: Tensor,
) -> list[list[Polygon]]:
    """Warp the polygons of objects and clip them to the valid region.

    Args:
        objects: For each object its polygons, (2K,), x and y in turn, in
            pixels.
        matrix: (2, 3), source -> destination, pixels.
        size: (2,), (height, width) of the valid region in pixels.

    Returns:
        list[list[Polygon]]: For each object the polygons of which something
        is left, of the dtype they had; none for an object out of view. A
        polygon that is not convex may come back with edges that run along
        the border to and fro; they enclose nothing.
    """
    warp = matrix.detach().cpu().double().numpy()
    height, width = size.detach().cpu().double().tolist()
    moved: list[list[Polygon]] = []
    for polygons in objects:
        kept: list[Polygon] = []
        for polygon in polygons:
            points: Polygon = np.asarray(polygon, dtype=np.float64)
            points = points.reshape(-1, 2)
            points = points @ warp[:, :2].T + warp[:, 2]
            points = _clip_to_rectangle(points, width, height)
            if _polygon_area(points) > 0:
                kept.append(points.reshape(-1).astype(polygon.dtype))
        moved.append(kept)
    return moved


def _gather_nearest(
    maps: Tensor, matrix: Tensor, size: Tensor, fill: int
) -> Tensor:
    """Warp (..., H, W) by index; see the two functions above."""
    height, width = maps.shape[-2:]
    size = size.detach().to(maps.device)
    valid = valid_mask(size[None], height, width)[0]
    matrix = matrix.detach().to(maps.device)
    points = source_points(matrix[None], height, width)[0]
    limits = size.to(points).flip(-1)
    inside = ((points >= 0) & (points < limits)).all(-1)
    # Clamped before the cast: far outside, the integer would overflow.
    nearest = points.minimum(limits).clamp(min=0).floor().long()
    columns = nearest[..., 0].clamp(max=width - 1)
    rows = nearest[..., 1].clamp(max=height - 1)
    outside = torch.as_tensor(fill, dtype=maps.dtype, device=maps.device)
    warped = torch.where(inside, maps[..., rows, columns], outside)
    return torch.where(valid, warped, maps)


def _clip_to_rectangle(
    points: npt.NDArray[np.float64], width: float, height: float
) -> npt.NDArray[np.float64]:
    """Clip a polygon (K, 2) to [0, w] x [0, h] by Sutherland-Hodgman."""
    for axis, limit in ((0, width), (1, height)):
        for bound, sign in ((0.0, 1.0), (limit, -1.0)):
            if len(points) == 0:
                return points
            distance = sign * (points[:, axis] - bound)
            inside = distance >= 0
            if inside.all():
                continue
            crossing = inside != np.roll(inside, -1)
            gap = np.where(crossing, distance - np.roll(distance, -1), 1.0)
            ratio = np.where(crossing, distance / gap, 0.0)[:, None]
            cuts = points + ratio * (np.roll(points, -1, 0) - points)
            cuts[:, axis] = bound
            both = np.stack([points, cuts], 1).reshape(-1, 2)
            points = both[np.stack([inside, crossing], 1).reshape(-1)]
    return points


def _polygon_area(points: npt.NDArray[np.float64]) -> float:
    """Return the area of a polygon (K, 2); 0 under three vertices."""
    if len(points) < 3:
        return 0.0
    x, y = (points - points[0]).T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)
