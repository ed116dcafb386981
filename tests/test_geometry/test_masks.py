"""Test where label maps, bitmap masks and polygons land."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mmdet.structures.mask import PolygonMasks
from torch import Tensor

from mmtst.geometry import (
    apply_to_points,
    identity_matrix,
    invert,
    warp_bitmaps,
    warp_boxes,
    warp_images,
    warp_label_map,
    warp_polygons,
)
from mmtst.testing.geometry import centered_matrix


@st.composite
def _scenes(draw: st.DrawFn) -> tuple[tuple[int, int], Tensor, list[int]]:
    """Draw a valid region, a warp about its center and a box within."""
    height, width = draw(st.integers(40, 90)), draw(st.integers(40, 90))
    matrix = centered_matrix(
        (height, width),
        draw(st.floats(-0.5, 0.5)),
        draw(st.floats(-0.25, 0.25)),
        draw(st.floats(0.8, 1.25)),
        (draw(st.floats(-0.3, 0.3)), draw(st.floats(-0.3, 0.3))),
    )
    x1 = draw(st.integers(0, width - 14))
    y1 = draw(st.integers(0, height - 14))
    x2 = draw(st.integers(x1 + 12, width))
    y2 = draw(st.integers(y1 + 12, height))
    return (height, width), matrix, [x1, y1, x2, y2]


def _extent(mask: np.ndarray) -> np.ndarray:
    rows, columns = np.nonzero(mask)
    return np.array(
        [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    )


@settings(max_examples=150, deadline=None)
@given(_scenes(), st.integers(0, 9), st.integers(0, 9))
def test_labels_land_where_the_matrix_says(
    scene: tuple[tuple[int, int], Tensor, list[int]], below: int, right: int
) -> None:
    """Pixel by pixel, against the definition."""
    (height, width), matrix, (x1, y1, x2, y2) = scene
    labels = torch.full((1, height + below, width + right), 255)
    labels[0, :height, :width] = 7
    labels[0, y1:y2, x1:x2] = 3
    shown = warp_label_map(labels, matrix, torch.tensor([height, width]), 254)
    assert shown.shape == labels.shape
    assert shown.dtype == labels.dtype
    assert bool((shown[0, height:] == 255).all())
    assert bool((shown[0, :, width:] == 255).all())
    back = invert(matrix[None])
    generator = np.random.default_rng(0)
    for row, column in zip(
        generator.integers(0, height, 60).tolist(),
        generator.integers(0, width, 60).tolist(),
        strict=True,
    ):
        center = torch.tensor([[[column + 0.5, row + 0.5]]])
        x, y = apply_to_points(back, center)[0, 0].tolist()
        if min(abs(x - round(x)), abs(y - round(y))) < 1e-6:
            continue  # on an edge, where either neighbor is right
        if not (0 <= x < width and 0 <= y < height):
            expected = 254
        else:
            expected = 3 if x1 <= x < x2 and y1 <= y < y2 else 7
        assert shown[0, row, column] == expected


@settings(max_examples=150, deadline=None)
@given(_scenes(), st.integers(0, 9), st.integers(0, 9), st.integers(0, 2**31))
def test_a_painted_label_map_agrees_with_its_image(
    scene: tuple[tuple[int, int], Tensor, list[int]],
    below: int,
    right: int,
    seed: int,
) -> None:
    """Pixel for pixel, a pixel away from edges; cropped and padded."""
    (height, width), matrix, _ = scene
    generator = torch.Generator().manual_seed(seed)
    whole = torch.randint(4, (10, 10), generator=generator)
    whole = whole.repeat_interleave(12, 0).repeat_interleave(12, 1)
    top, left = torch.randint(12, (2,), generator=generator).tolist()
    crop = whole[top : top + height, left : left + width]
    labels = torch.nn.functional.pad(crop, (0, right, 0, below), value=255)
    painted = torch.stack([labels == label for label in range(4)]).double()
    size = torch.tensor([height, width])
    image = warp_images(painted[None], matrix[None], size[None])[0]
    shown = warp_label_map(labels, matrix, size, 254)
    # Interior are pixels whose eight neighbors, in view, are of their label.
    around = labels[None].double()
    highest = torch.nn.functional.max_pool2d(around, 3, 1, 1)[0]
    lowest = -torch.nn.functional.max_pool2d(-around, 3, 1, 1)[0]
    interior = (highest == lowest).long()
    interior[[0, -1]] = interior[:, [0, -1]] = 0
    inside = warp_label_map(interior, matrix, size, 0) == 1
    inside[height:], inside[:, width:] = False, False
    expected = torch.stack([shown == label for label in range(4)]).double()
    assert bool(inside.any())
    torch.testing.assert_close(
        image[:, inside], expected[:, inside], atol=1e-6, rtol=0
    )


@settings(max_examples=150, deadline=None)
@given(_scenes(), st.integers(0, 9))
def test_bitmaps_and_polygons_land_in_their_boxes(
    scene: tuple[tuple[int, int], Tensor, list[int]], below: int
) -> None:
    (height, width), matrix, (x1, y1, x2, y2) = scene
    size = torch.tensor([height, width])
    boxes = torch.tensor([[x1, y1, x2, y2]]).double()
    box, visible = warp_boxes(boxes, matrix, size)
    assume(visible.item() > 1 - 1e-9)
    masks = torch.zeros(1, height + below, width, dtype=torch.uint8)
    masks[0, y1:y2, x1:x2] = 1
    painted = _extent(warp_bitmaps(masks, matrix, size)[0].numpy())
    outward = (painted - box[0].numpy()) * [-1, -1, 1, 1]
    # A pixel whose center lies within sticks out by half a pixel at most. In
    # a corner of 76 degrees (shear 0.25) a row of centers may be missed until
    # the corner is a pixel wide, 0.64 deep: 0.64 + 1 - 0.5.
    assert outward.max() <= 0.5 + 1e-9
    assert outward.min() >= -1.15

    polygon = np.array([x1, y1, x2, y1, x2, y2, x1, y2], dtype=np.float64)
    (moved,) = warp_polygons([[polygon]], matrix, size)
    points = moved[0].reshape(-1, 2)
    hull = np.concatenate([points.min(0), points.max(0)])
    np.testing.assert_allclose(hull, box[0].numpy(), atol=1e-6)


@settings(max_examples=100, deadline=None)
@given(_scenes())
def test_clipped_polygons_keep_to_the_clipped_box(
    scene: tuple[tuple[int, int], Tensor, list[int]],
) -> None:
    (height, width), matrix, (x1, y1, x2, y2) = scene
    size = torch.tensor([height, width])
    boxes = torch.tensor([[x1, y1, x2, y2]]).double()
    box, visible = warp_boxes(boxes, matrix, size)
    polygon = np.array([x1, y1, x2, y1, x2, y2, x1, y2], dtype=np.float64)
    (moved,) = warp_polygons([[polygon]], matrix, size)
    assert bool(moved) == (visible.item() > 0)
    if moved:
        points = moved[0].reshape(-1, 2)
        hull = np.concatenate([points.min(0), points.max(0)])
        np.testing.assert_allclose(hull, box[0].numpy(), atol=1e-6)


def _star(size: tuple[int, int]) -> np.ndarray:
    """Return a five-pointed star, not convex, in the middle."""
    turns = np.arange(10) * math.pi / 5
    radius = np.where(np.arange(10) % 2, 0.18, 0.42) * min(size)
    x = size[1] / 2 + radius * np.cos(turns)
    y = size[0] / 2 + radius * np.sin(turns)
    return np.stack([x, y], 1).reshape(-1)


@pytest.mark.parametrize('shift', [(0.0, 0.0), (0.4, 0.1), (-0.2, -0.5)])
@pytest.mark.parametrize('angle', [-0.4, 0.0, 0.7])
def test_polygon_and_bitmap_show_the_same_shape(
    angle: float, shift: tuple[float, float]
) -> None:
    """mmdet rasterizes before or after; the warped image agrees too."""
    height, width = 80, 112
    size = torch.tensor([height, width])
    matrix = centered_matrix((height, width), angle, 0.2, 1.1, shift)
    star = _star((height, width))
    before = PolygonMasks([[star]], height, width).to_tensor(
        torch.uint8, 'cpu'
    )
    bitmap = warp_bitmaps(before, matrix, size)[0].bool().numpy()
    moved = warp_polygons([[star]], matrix, size)
    after = PolygonMasks(moved, height, width).to_ndarray()[0].astype(bool)
    image = warp_images(before[None].double(), matrix[None], size[None])
    painted = image[0, 0].numpy() > 0.5
    for one, other in ((bitmap, after), (bitmap, painted)):
        overlap = (one & other).sum() / (one | other).sum()
        assert overlap > 0.93
        for axis in (0, 1):
            centers = [np.nonzero(m)[axis].mean() for m in (one, other)]
            assert abs(centers[0] - centers[1]) < 0.3


def test_a_polygon_cut_by_hand() -> None:
    square = np.array([2, 2, 8, 2, 8, 8, 2, 8], dtype=np.float32)
    matrix = torch.tensor([[1.0, 0, 5], [0, 1, 0]])
    (moved,) = warp_polygons([[square]], matrix, torch.tensor([10, 10]))
    assert moved[0].dtype == np.float32
    points = {tuple(p) for p in moved[0].reshape(-1, 2).tolist()}
    assert points == {(7, 2), (10, 2), (10, 8), (7, 8)}


def test_polygons_out_of_view_go_one_by_one() -> None:
    near = np.array([0, 0, 4, 0, 4, 4, 0, 4], dtype=np.float64)
    far = near + 6
    line = np.array([0.0, 0, 3, 3])
    matrix = torch.tensor([[1.0, 0, -5], [0, 1, -5]])
    objects = [[near, far], [near], [], [line + 6]]
    moved = warp_polygons(objects, matrix, torch.tensor([10, 10]))
    assert [len(polygons) for polygons in moved] == [1, 0, 0, 0]
    np.testing.assert_array_equal(moved[0][0], far - 5)
    assert warp_polygons([], matrix, torch.tensor([10, 10])) == []


@pytest.mark.parametrize(
    'dtype', [torch.uint8, torch.int16, torch.int32, torch.int64]
)
def test_labels_of_any_integer_dtype_are_exact(dtype: torch.dtype) -> None:
    top = torch.iinfo(dtype).max
    labels = torch.tensor([[top, 1], [2, top - 1]], dtype=dtype)
    matrix = torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    shown = warp_label_map(labels, matrix, torch.tensor([2, 2]), 0)
    assert shown.tolist() == [[0, top], [0, 2]]
    assert shown.dtype == dtype


def test_bitmaps_keep_bool_and_take_no_padding_in() -> None:
    masks = torch.zeros(2, 6, 8, dtype=torch.bool)
    masks[0, :4, :5] = True
    masks[1] = True  # poison in the padding
    matrix = torch.tensor([[1.0, 0, -2], [0, 1, -1]])
    shown = warp_bitmaps(masks, matrix, torch.tensor([4, 5]))
    assert shown.dtype == torch.bool
    expected = torch.zeros(4, 5, dtype=torch.bool)
    expected[:3, :3] = True
    for i in range(2):
        assert torch.equal(shown[i, :4, :5], expected)
        assert torch.equal(shown[i, 4:], masks[i, 4:])
    empty = warp_bitmaps(masks[:0], matrix, torch.tensor([4, 5]))
    assert empty.shape == (0, 6, 8)


def test_everything_far_outside_is_fill() -> None:
    labels = torch.ones(5, 5, dtype=torch.long)
    matrix = torch.tensor([[1.0, 0, 1e30], [0, 1, -1e30]])
    shown = warp_label_map(labels, matrix, torch.tensor([5, 5]), 255)
    assert bool((shown == 255).all())


def test_the_identity_is_exact_and_inputs_are_not_edited() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 255, (31, 47), generator=generator)
    before = labels.clone()
    size = torch.tensor([29, 47])
    eye = identity_matrix(1)[0]
    assert torch.equal(warp_label_map(labels, eye, size, 255), labels)
    warp_label_map(labels, eye * 0.5, size, 255)
    assert torch.equal(labels, before)
    star = _star((29, 47))
    kept = star.copy()
    (moved,) = warp_polygons([[star]], eye, size)
    moved[0][:] = 0
    np.testing.assert_array_equal(star, kept)


def test_a_map_smaller_than_the_valid_region_is_refused() -> None:
    labels = torch.zeros(4, 4, dtype=torch.long)
    with pytest.raises(ValueError, match=r'canvas of \(4, 4\)'):
        warp_label_map(
            labels, identity_matrix(1)[0], torch.tensor([8, 8]), 255
        )
