"""Test where the pixels of a padded batch land."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmtst.geometry import (
    apply_to_points,
    identity_matrix,
    invert,
    source_points,
    valid_mask,
    warp_boxes,
    warp_images,
)
from mmtst.testing.geometry import centered_matrix


@st.composite
def _scenes(draw: st.DrawFn) -> tuple[tuple[int, int], Tensor, list[int]]:
    """Draw a valid region, a warp about its center and a box within."""
    height, width = draw(st.integers(48, 96)), draw(st.integers(48, 96))
    matrix = centered_matrix(
        (height, width),
        draw(st.floats(-0.5, 0.5)),
        draw(st.floats(-0.25, 0.25)),
        draw(st.floats(0.8, 1.25)),
        (draw(st.floats(-0.2, 0.2)), draw(st.floats(-0.2, 0.2))),
    )
    x1 = draw(st.integers(0, width - 10))
    y1 = draw(st.integers(0, height - 10))
    x2 = draw(st.integers(x1 + 8, width))
    y2 = draw(st.integers(y1 + 8, height))
    return (height, width), matrix, [x1, y1, x2, y2]


@settings(max_examples=200, deadline=None)
@given(_scenes(), st.integers(0, 17), st.integers(0, 17))
def test_a_painted_rectangle_lands_in_its_box(
    scene: tuple[tuple[int, int], Tensor, list[int]], below: int, right: int
) -> None:
    size, matrix, (x1, y1, x2, y2) = scene
    canvas = torch.zeros(1, 1, size[0] + below, size[1] + right).double()
    canvas[..., y1:y2, x1:x2] = 1
    sizes = torch.tensor([size])
    boxes = torch.tensor([[x1, y1, x2, y2]]).double()
    box, visible = warp_boxes(boxes, matrix, sizes[0])
    assume(visible.item() > 1 - 1e-9)

    image = warp_images(canvas, matrix[None], sizes)[0, 0].numpy()
    rows, columns = np.nonzero(image > 0.25)
    painted = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    assert np.abs(np.array(painted) - box[0].numpy()).max() <= 1

    # The center of mass tells a half pixel apart, which the extent can't.
    center = torch.tensor([[[(x1 + x2) / 2, (y1 + y2) / 2]]]).double()
    expected = apply_to_points(matrix, center)[0, 0].numpy()
    x = (image.sum(0) * (np.arange(image.shape[1]) + 0.5)).sum()
    y = (image.sum(1) * (np.arange(image.shape[0]) + 0.5)).sum()
    mass = np.array([x, y]) / image.sum()
    assert np.abs(mass - expected).max() < 0.3


def test_bilinear_values_by_hand() -> None:
    """Half a pixel to the right averages neighbors, and fill at the edge."""
    images = torch.tensor([[[[1.0, 3.0, 5.0]]]])
    matrix = torch.tensor([[[1.0, 0, 0.5], [0, 1, 0]]])
    shown = warp_images(images, matrix, torch.tensor([[1, 3]]), fill=9.0)
    assert shown.tolist() == [[[[5.0, 2.0, 4.0]]]]


def test_a_whole_pixel_shift_moves_content_with_the_matrix() -> None:
    images = torch.arange(12.0).view(1, 1, 3, 4)
    matrix = torch.tensor([[[1.0, 0, 1.0], [0, 1, 2.0]]])
    for mode in ('bilinear', 'nearest'):
        shown = warp_images(images, matrix, torch.tensor([[3, 4]]), -1, mode)  # type: ignore[arg-type]
        expected = torch.full((3, 4), -1.0)
        expected[2, 1:] = torch.tensor([0.0, 1, 2])
        torch.testing.assert_close(shown[0, 0], expected, rtol=0, atol=1e-5)


def test_padding_neither_moves_nor_enters() -> None:
    images = torch.rand(2, 3, 20, 24, generator=_seeded())
    sizes = torch.tensor([[13, 24], [20, 17]])
    valid = valid_mask(sizes, 20, 24)[:, None].expand_as(images)
    poisoned = torch.where(valid, images, 1e6)
    matrix = torch.stack(
        [centered_matrix((13, 24), 0.4), centered_matrix((20, 17), -0.3)]
    )
    clean = warp_images(images, matrix, sizes, fill=0.5)
    shown = warp_images(poisoned, matrix, sizes, fill=0.5)
    assert torch.equal(shown[valid], clean[valid])
    assert torch.equal(shown[~valid], poisoned[~valid])
    assert shown[valid].max() <= 1


def test_a_padded_image_warps_as_it_does_alone() -> None:
    images = torch.rand(1, 2, 31, 40, generator=_seeded()).double()
    matrix = centered_matrix((22, 35), 0.3, 0.1, 0.9, (0.1, -0.1))[None]
    sizes = torch.tensor([[22, 35]])
    alone = warp_images(images[..., :22, :35].clone(), matrix, sizes)
    padded = warp_images(images, matrix, sizes)
    torch.testing.assert_close(padded[..., :22, :35], alone)


def test_the_identity_gives_the_image_back() -> None:
    images = torch.rand(2, 3, 37, 53, generator=_seeded())
    sizes = torch.tensor([[37, 53], [30, 41]])
    for mode in ('bilinear', 'nearest'):
        shown = warp_images(images, identity_matrix(2), sizes, 7.0, mode)  # type: ignore[arg-type]
        torch.testing.assert_close(shown, images, rtol=0, atol=1e-4)


def test_there_and_back_gives_a_smooth_image_back() -> None:
    """Also on the real scale: the grid holds at 800 x 1333 in float32."""
    y, x = torch.meshgrid(
        torch.arange(800.0), torch.arange(1333.0), indexing='ij'
    )
    images = (torch.sin(x / 40) + torch.cos(y / 30))[None, None]
    sizes = torch.tensor([[800, 1333]])
    matrix = centered_matrix((800, 1333), 0.2, 0.1)[None].float()
    once = warp_images(images, matrix, sizes)
    again = warp_images(once, invert(matrix), sizes)
    middle = (..., slice(300, 500), slice(500, 800))
    torch.testing.assert_close(
        again[middle], images[middle], rtol=0, atol=2e-3
    )


def test_fill_may_be_per_channel_or_per_image() -> None:
    images = torch.rand(2, 3, 8, 8, generator=_seeded())
    away = torch.tensor([[[1.0, 0, 100], [0, 1, 0]]]).expand(2, 2, 3)
    sizes = torch.tensor([[8, 8], [8, 8]])
    channels = torch.tensor([0.1, 0.2, 0.3])
    shown = warp_images(images, away, sizes, channels)
    assert torch.equal(shown, channels.view(1, 3, 1, 1).expand_as(images))
    each = torch.rand(2, 3, generator=_seeded())
    shown = warp_images(images, away, sizes, each)
    assert torch.equal(shown, each[..., None, None].expand_as(images))


def test_inputs_are_not_edited_and_replay_is_exact() -> None:
    images = torch.rand(1, 3, 16, 18, generator=_seeded())
    before = images.clone()
    matrix = centered_matrix((14, 18), 0.3)[None]
    sizes = torch.tensor([[14, 18]])
    first = warp_images(images, matrix, sizes, 0.4)
    assert torch.equal(images, before)
    assert torch.equal(warp_images(images, matrix, sizes, 0.4), first)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_images_keep_their_dtype_and_float32_grids(
    dtype: torch.dtype,
) -> None:
    images = torch.rand(1, 1, 200, 300, generator=_seeded()).to(dtype)
    matrix = centered_matrix((200, 300), 0.3)[None]
    sizes = torch.tensor([[200, 300]])
    expected = warp_images(images.float(), matrix, sizes)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        shown = warp_images(images, matrix, sizes)
    assert shown.dtype == dtype
    torch.testing.assert_close(shown.float(), expected, rtol=1e-2, atol=1e-2)


def _smooth(height: int, width: int) -> Tensor:
    y, x = torch.meshgrid(
        torch.arange(height), torch.arange(width), indexing='ij'
    )
    waves = [torch.sin(x / 5.0 + y / 7.0), torch.cos(x / 6.0 - y / 4.0)]
    return torch.stack(waves)[None].double()


def test_the_gradient_agrees_with_finite_differences() -> None:
    """In the matrix, the images and the fill, padding included.

    The warp is generic: bilinear sampling has kinks where a source falls on
    a pixel center, and none lies within the step of one here.
    """
    images = _smooth(9, 11).requires_grad_()
    matrix = centered_matrix((8, 11), 0.21, 0.07, 1.05, (0.031, -0.043))[None]
    matrix.requires_grad_()
    sizes = torch.tensor([[8, 11]])
    fill = torch.tensor([0.3, -0.2], dtype=torch.float64, requires_grad=True)

    def warp(x: Tensor, m: Tensor, f: Tensor) -> Tensor:
        return warp_images(x, m, sizes, f)

    assert torch.autograd.gradcheck(warp, (images, matrix, fill), eps=1e-7)


def test_the_matrix_gradient_is_the_motion_of_a_smooth_image() -> None:
    """A shift by d changes the mean of x by the analytic derivative."""
    images = _smooth(40, 40)
    matrix = identity_matrix(1, torch.float64)
    matrix[..., 2] += 0.3
    matrix.requires_grad_()
    shown = warp_images(images, matrix, torch.tensor([[40, 40]]))
    middle = shown[0, 0, 10:30, 10:30]
    (grad,) = torch.autograd.grad(middle.sum(), matrix)
    y, x = torch.meshgrid(
        torch.arange(10, 30), torch.arange(10, 30), indexing='ij'
    )
    phase = (x - 0.3) / 5.0 + (y - 0.3) / 7.0
    slope = torch.cos(phase).sum().item()
    assert grad[0, 0, 2].item() == pytest.approx(-slope / 5, rel=0.02)
    assert grad[0, 1, 2].item() == pytest.approx(-slope / 7, rel=0.02)


def test_source_points_are_the_inverse_of_centers() -> None:
    matrix = centered_matrix((6, 9), 0.3, 0.2)[None]
    points = source_points(matrix, 6, 9)
    assert points.shape == (1, 6, 9, 2)
    landed = apply_to_points(matrix, points.view(1, -1, 2)).view(6, 9, 2)
    expected = torch.tensor([4.5, 2.5]).double()
    torch.testing.assert_close(landed[2, 4], expected)


def test_valid_mask_marks_pixels_by_their_centers() -> None:
    mask = valid_mask(torch.tensor([[1.0, 2.0], [2.0, 1.6]]), 2, 3)
    assert mask[0].tolist() == [[True, True, False], [False] * 3]
    assert mask[1].tolist() == [[True, True, False]] * 2


def test_errors_name_what_is_wrong() -> None:
    images = torch.zeros(1, 1, 4, 4)
    eye = identity_matrix(1)
    with pytest.raises(ValueError, match=r'canvas of \(4, 4\)'):
        warp_images(images, eye, torch.tensor([[5, 4]]))
    with pytest.raises(ValueError, match="'cubic'"):
        warp_images(images, eye, torch.tensor([[4, 4]]), mode='cubic')  # type: ignore[arg-type]
    with pytest.raises(ValueError, match='cannot be inverted'):
        warp_images(images, torch.zeros(1, 2, 3), torch.tensor([[4, 4]]))


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)
