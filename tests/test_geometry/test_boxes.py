"""Test where boxes land and how much of them stays in view."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mmdet.structures.bbox import HorizontalBoxes
from torch import Tensor

from mmtst.geometry import identity_matrix, keep_boxes, warp_boxes


@st.composite
def _matrices(draw: st.DrawFn) -> Tensor:
    """Draw a warp about (30, 20), the center of a 40 x 60 image."""
    linear = torch.tensor(
        [draw(st.floats(-0.5, 0.5)) for _ in range(4)], dtype=torch.float64
    ).view(2, 2) + torch.eye(2, dtype=torch.float64)
    assume(torch.linalg.det(linear).item() > 0.05)
    center = torch.tensor([30.0, 20.0]).double()
    shift = torch.tensor([draw(st.floats(-40, 40)) for _ in range(2)])
    moved = center + shift - linear @ center
    return torch.cat([linear, moved[:, None]], dim=1)


@st.composite
def _boxes(draw: st.DrawFn) -> Tensor:
    number = draw(st.integers(0, 4))
    rows = []
    for _ in range(number):
        x1, y1 = draw(st.floats(-5, 55)), draw(st.floats(-5, 38))
        width, height = draw(st.floats(0.5, 60)), draw(st.floats(0.5, 40))
        rows.append([x1, y1, x1 + width, y1 + height])
    return torch.tensor(rows, dtype=torch.float64).view(-1, 4)


_SIZE = torch.tensor([40, 60])


def _clip_slowly(
    polygon: list[np.ndarray], width: float, height: float
) -> list[np.ndarray]:
    """Clip to [0, w] x [0, h], vertex by vertex, as in the textbook."""
    for normal, offset in (
        (np.array([1.0, 0.0]), 0.0),
        (np.array([-1.0, 0.0]), width),
        (np.array([0.0, 1.0]), 0.0),
        (np.array([0.0, -1.0]), height),
    ):
        result = []
        for i, end in enumerate(polygon):
            start = polygon[i - 1]
            d0, d1 = start @ normal + offset, end @ normal + offset
            if (d0 >= 0) != (d1 >= 0):
                result.append(start + d0 / (d0 - d1) * (end - start))
            if d1 >= 0:
                result.append(end)
        polygon = result
    return polygon


def _area_slowly(polygon: list[np.ndarray]) -> float:
    total = 0.0
    for i, (x, y) in enumerate(polygon):
        x0, y0 = polygon[i - 1]
        total += x0 * y - x * y0
    return abs(total) / 2


@settings(max_examples=300, deadline=None)
@given(_boxes(), _matrices())
def test_boxes_agree_with_the_textbook_clip(
    boxes: Tensor, matrix: Tensor
) -> None:
    moved, visible = warp_boxes(boxes, matrix, _SIZE)
    assert moved.shape == boxes.shape
    assert visible.shape == (len(boxes),)
    warp = matrix.numpy()
    for i, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
        corners = [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
        quad = [warp @ np.array([*corner, 1.0]) for corner in corners]
        clipped = _clip_slowly(quad, 60, 40)
        if not clipped:
            assert moved[i].tolist() == [0, 0, 0, 0]
            assert visible[i] == 0
            continue
        low, high = np.min(clipped, 0), np.max(clipped, 0)
        np.testing.assert_allclose(
            moved[i], np.concatenate([low, high]), atol=1e-9
        )
        share = _area_slowly(clipped) / _area_slowly(quad)
        assert visible[i].item() == pytest.approx(share, abs=1e-7)


@settings(max_examples=100, deadline=None)
@given(_boxes(), _matrices())
def test_boxes_stay_in_the_valid_region(boxes: Tensor, matrix: Tensor) -> None:
    moved, visible = warp_boxes(boxes.float(), matrix.float(), _SIZE)
    assert moved.dtype == visible.dtype == torch.float32
    assert bool((moved >= 0).all())
    assert bool((moved[:, 0::2] <= 60).all() & (moved[:, 1::2] <= 40).all())
    assert bool((moved[:, 2:] >= moved[:, :2]).all())
    assert bool(((visible >= 0) & (visible <= 1)).all())


@settings(max_examples=100, deadline=None)
@given(_boxes(), _matrices())
def test_agrees_with_mmdet_where_nothing_leaves(
    boxes: Tensor, matrix: Tensor
) -> None:
    """`HorizontalBoxes.project_` takes the same matrices."""
    projected = HorizontalBoxes(boxes, clone=True)
    row = torch.tensor([[0.0, 0.0, 1.0]]).double()
    projected.project_(torch.cat([matrix, row]))
    moved, visible = warp_boxes(boxes, matrix, _SIZE)
    whole = projected.tensor
    within = (whole >= 0).all(1) & (whole[:, 2] <= 60) & (whole[:, 3] <= 40)
    torch.testing.assert_close(moved[within], whole[within])
    assert bool((visible[within] > 1 - 1e-9).all())
    # Elsewhere mmdet's own order, hull first and clip after, is never
    # tighter than ours.
    projected.clip_((40, 60))
    some = visible > 0
    assert bool((moved[some, :2] >= projected.tensor[some, :2] - 1e-9).all())
    assert bool((moved[some, 2:] <= projected.tensor[some, 2:] + 1e-9).all())


def test_the_hull_of_unclipped_corners_is_looser_by_far() -> None:
    """A long box, turned by 45 degrees, leaves by its lower end."""
    turn = 0.5**0.5
    linear = torch.tensor([[turn, -turn], [turn, turn]]).double()
    center = torch.tensor([50.0, 50.0]).double()
    shift = center - linear @ center + torch.tensor([40.0, 0.0])
    matrix = torch.cat([linear, shift[:, None]], dim=1)
    box = torch.tensor([[10.0, 45.0, 90.0, 55.0]]).double()
    moved, _ = warp_boxes(box, matrix, torch.tensor([100, 100]))
    loose = HorizontalBoxes(box, clone=True)
    row = torch.tensor([[0.0, 0.0, 1.0]]).double()
    loose.project_(torch.cat([matrix, row]))
    loose.clip_((100, 100))
    assert (moved - loose.tensor).abs().max() > 12


def test_by_hand() -> None:
    """Half of a 20 x 10 box leaves at the right of a 40 x 60 image."""
    matrix = torch.tensor([[1.0, 0, 20], [0, 1, 5]])
    boxes = torch.tensor([[30.0, 10, 50, 20], [0, 0, 10, 10], [45, 0, 55, 9]])
    moved, visible = warp_boxes(boxes, matrix, _SIZE)
    assert moved.tolist() == [[50, 15, 60, 25], [20, 5, 30, 15], [0] * 4]
    assert visible.tolist() == [0.5, 1.0, 0.0]


def test_a_box_that_covers_the_image_and_more() -> None:
    matrix = torch.tensor([[3.0, 0, -60], [0, 3, -40]])
    moved, visible = warp_boxes(
        torch.tensor([[0.0, 0, 60, 40]]), matrix, _SIZE
    )
    assert moved.tolist() == [[0, 0, 60, 40]]
    assert visible.item() == pytest.approx(1 / 9)


def test_boxes_without_area_are_not_visible() -> None:
    boxes = torch.tensor([[5.0, 5, 5, 5], [5, 5, 9, 5], [5, 5, 9, 9]])
    moved, visible = warp_boxes(boxes, identity_matrix(1)[0], _SIZE)
    assert torch.equal(moved, boxes)
    assert visible.tolist() == [0, 0, 1]
    assert keep_boxes(moved, visible).tolist() == [False, False, True]


def test_no_boxes_give_no_boxes() -> None:
    moved, visible = warp_boxes(
        torch.zeros(0, 4), identity_matrix(1)[0], _SIZE
    )
    assert moved.shape == (0, 4)
    assert visible.shape == (0,)
    assert keep_boxes(moved, visible).shape == (0,)


def test_one_matrix_and_size_per_box_as_one_by_one() -> None:
    generator = torch.Generator().manual_seed(0)
    boxes = torch.rand(6, 4, generator=generator) * 30
    boxes[:, 2:] += boxes[:, :2]
    matrix = identity_matrix(6)
    matrix += 0.2 * torch.randn(6, 2, 3, generator=generator)
    sizes = torch.randint(25, 60, (6, 2), generator=generator)
    moved, visible = warp_boxes(boxes, matrix, sizes)
    for i in range(6):
        one, share = warp_boxes(boxes[i : i + 1], matrix[i], sizes[i])
        torch.testing.assert_close(moved[i : i + 1], one)
        torch.testing.assert_close(visible[i : i + 1], share)


def test_no_gradient_and_no_edit() -> None:
    matrix = identity_matrix(1)[0].requires_grad_()
    boxes = torch.tensor([[1.0, 2, 30, 35]], requires_grad=True)
    before = boxes.detach().clone()
    moved, visible = warp_boxes(boxes, matrix, _SIZE)
    assert not moved.requires_grad
    assert not visible.requires_grad
    moved.zero_()
    assert torch.equal(boxes, before)


def test_whole_numbers_are_not_cut_off() -> None:
    matrix = torch.tensor([[1.0, 0, 0.5], [0, 1, 0.25]])
    moved, visible = warp_boxes(torch.tensor([[1, 2, 5, 6]]), matrix, _SIZE)
    assert moved.tolist() == [[1.5, 2.25, 5.5, 6.25]]
    assert visible.tolist() == [1]


def test_keep_boxes_by_side_and_by_share() -> None:
    boxes = torch.tensor(
        [[0.0, 0, 1, 1], [0, 0, 0.9, 9], [0, 0, 9, 0.9], [0, 0, 9, 9]]
    )
    visible = torch.tensor([1.0, 1, 1, 0.2])
    assert keep_boxes(boxes, visible).tolist() == [True, False, False, True]
    kept = keep_boxes(boxes, visible, min_side=2.0, min_visible=0.3)
    assert kept.tolist() == [False] * 4
    kept = keep_boxes(boxes, torch.zeros(4), min_side=0.0, min_visible=0.0)
    assert kept.tolist() == [False] * 4
