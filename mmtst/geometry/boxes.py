"""Move boxes by a warp, and say how much of each is still in view."""

from __future__ import annotations

import torch
from torch import Tensor

from mmtst.geometry.affine import apply_to_points


@torch.no_grad()
def warp_boxes(
    boxes: Tensor, matrix: Tensor, size: Tensor
) -> tuple[Tensor, Tensor]:
    """Warp boxes and clip them to the valid region.

    The quadrilateral of a box's corners is clipped as a polygon and the hull
    taken of what is left. The hull of the unclipped corners, clipped after,
    would be looser by many pixels where an object leaves the image.

    Args:
        boxes: (N, 4), (x1, y1, x2, y2) in pixels.
        matrix: (2, 3), or (N, 2, 3) for one each, source -> destination,
            pixels.
        size: (2,), or (N, 2) for one each, (height, width) of the valid
            region in pixels.

    Returns:
        tuple[Tensor, Tensor]: Boxes (N, 4), zero where nothing is in view,
        of the dtype of ``boxes`` if that is a float; and the fraction (N,),
        in [0, 1], of the warped quadrilateral's area that is in view, 0 for
        a box without area. Neither carries a gradient.
    """
    x1, y1, x2, y2 = boxes.detach().unbind(-1)
    corners = torch.stack([x1, y1, x2, y1, x2, y2, x1, y2], dim=-1)
    quads = apply_to_points(matrix.detach(), corners.view(-1, 4, 2))
    limits = size.to(quads).flip(-1).expand(len(quads), 2)
    clipped, inside = _clip_convex(quads, limits)

    empty = ~inside
    low = clipped.amin(1).masked_fill(empty[:, None], 0)
    high = clipped.amax(1).masked_fill(empty[:, None], 0)
    whole = _area(quads)
    share = _area(clipped).masked_fill(empty, 0) / whole
    visible = torch.where(whole > 0, share, 0.0).clamp(0, 1)
    hulls = torch.cat([low, high], dim=-1)
    dtype = boxes.dtype if boxes.is_floating_point() else hulls.dtype
    return hulls.to(dtype), visible.to(dtype)


def keep_boxes(
    boxes: Tensor,
    visible: Tensor,
    min_side: float = 1.0,
    min_visible: float = 0.1,
) -> Tensor:
    """Tell which warped boxes are still worth learning from.

    Args:
        boxes: (N, 4), (x1, y1, x2, y2) in pixels, as warped.
        visible: (N,), the fraction in view, in [0, 1].
        min_side: Least width and least height in pixels.
        min_visible: Least fraction in view.

    Returns:
        Tensor: (N,), bool. A box with nothing in view is never kept.
    """
    sides = boxes[:, 2:] - boxes[:, :2]
    large = (sides >= min_side).all(-1)
    return large & (visible >= min_visible) & (visible > 0)


def _clip_convex(quads: Tensor, limits: Tensor) -> tuple[Tensor, Tensor]:
    """Clip convex polygons to [0, w] x [0, h], all at once.

    Sutherland-Hodgman, one half plane after the other. A half plane adds at
    most one vertex to a convex polygon; shorter ones are filled up with their
    last vertex, which changes neither hull nor area.

    Args:
        quads: (N, 4, 2), vertices in order.
        limits: (N, 2), (w, h).

    Returns:
        tuple[Tensor, Tensor]: Vertices (N, 8, 2) and whether anything is
        left, (N,), bool. Vertices of what is not left mean nothing.
    """
    polygons = quads
    alive = torch.ones(len(quads), dtype=torch.bool, device=quads.device)
    for axis in (0, 1):
        limit = limits[:, axis, None]
        for upper in (False, True):
            along = polygons[..., axis]
            distance = limit - along if upper else along
            bound = limit if upper else torch.zeros_like(limit)
            polygons, some = _clip_half_plane(polygons, distance, axis, bound)
            alive = alive & some
    return polygons, alive


def _clip_half_plane(
    polygons: Tensor, distance: Tensor, axis: int, bound: Tensor
) -> tuple[Tensor, Tensor]:
    """Cut (N, K, 2) to where ``distance`` (N, K) >= 0: (N, K + 1, 2)."""
    count = polygons.shape[1]
    following = polygons.roll(-1, 1)
    other = distance.roll(-1, 1)
    inside = distance >= 0
    crossing = inside != (other >= 0)
    ratio = torch.where(crossing, distance / (distance - other), 0.0)
    crossings = polygons + ratio[..., None] * (following - polygons)
    # On the line to the last bit: no hull may stick out by a rounding.
    crossings[..., axis] = bound
    candidates = torch.stack([polygons, crossings], 2).flatten(1, 2)
    wanted = torch.stack([inside, crossing], 2).flatten(1, 2)

    order = torch.argsort((~wanted).to(torch.uint8), dim=1, stable=True)
    number = wanted.sum(1, keepdim=True)
    slots = torch.arange(count + 1, device=polygons.device)
    slots = torch.minimum(slots, (number - 1).clamp(min=0))
    chosen = order.gather(1, slots)[..., None].expand(-1, -1, 2)
    return candidates.gather(1, chosen), number[:, 0] > 0


def _area(polygons: Tensor) -> Tensor:
    """Return the areas (N,) of polygons (N, K, 2), by the shoelace formula."""
    # About the first vertex: far from the origin the products would cancel.
    x, y = (polygons - polygons[:, :1]).unbind(-1)
    cross = x * y.roll(-1, 1) - y * x.roll(-1, 1)
    return cross.sum(1).abs() / 2
