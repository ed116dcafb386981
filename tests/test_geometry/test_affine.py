"""Test the two frames and the algebra of warps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mmtst.geometry import (
    anchor_corner,
    apply_to_points,
    compose,
    from_normalized,
    identity_matrix,
    invert,
    to_normalized,
)

_entries = st.floats(-0.4, 0.4)
_thetas = st.lists(_entries, min_size=6, max_size=6).map(
    lambda v: (
        torch.tensor(v, dtype=torch.float64).view(1, 2, 3)
        + identity_matrix(1, torch.float64)
    )
)
_sides = st.integers(7, 400)


def _homogeneous(matrix: Tensor) -> np.ndarray:
    return np.vstack([matrix.numpy(), [0, 0, 1]])


def _pixels_to_normalized(height: float, width: float) -> np.ndarray:
    return np.array([[2 / width, 0, -1], [0, 2 / height, -1], [0, 0, 1]])


@given(_thetas, _thetas)
def test_compose_is_the_matrix_product(a: Tensor, b: Tensor) -> None:
    expected = _homogeneous(a[0]) @ _homogeneous(b[0])
    np.testing.assert_allclose(compose(a, b)[0], expected[:2], atol=1e-12)


def test_compose_applies_the_inner_warp_first() -> None:
    double = torch.tensor([[[2.0, 0, 0], [0, 2, 0]]])
    right = torch.tensor([[[1.0, 0, 3], [0, 1, 0]]])
    point = torch.tensor([[[1.0, 1.0]]])
    moved = apply_to_points(compose(double, right), point)
    assert moved.tolist() == [[[8.0, 2.0]]]


@given(_thetas)
def test_invert_is_the_homogeneous_inverse(matrix: Tensor) -> None:
    expected = np.linalg.inv(_homogeneous(matrix[0]))
    np.testing.assert_allclose(invert(matrix)[0], expected[:2], atol=1e-10)


def test_invert_names_the_image_that_is_singular() -> None:
    matrix = identity_matrix(4)
    matrix[2, 1] = matrix[2, 0]
    with pytest.raises(ValueError, match='image 2 cannot be inverted'):
        invert(matrix)


@pytest.mark.parametrize('value', [math.nan, math.inf])
@pytest.mark.parametrize('entry', [(0, 0), (1, 2)])
def test_invert_refuses_what_is_not_finite(
    value: float, entry: tuple[int, int]
) -> None:
    matrix = identity_matrix(2)
    matrix[1][entry] = value
    with pytest.raises(ValueError, match='image 1 cannot be inverted'):
        invert(matrix)


@given(_thetas)
def test_apply_to_points_is_homogeneous_coordinates(matrix: Tensor) -> None:
    points = torch.tensor([[[3.0, -2], [0, 0], [50, 7]]], dtype=torch.float64)
    stacked = np.c_[points[0].numpy(), np.ones(3)]
    expected = stacked @ _homogeneous(matrix[0]).T
    moved = apply_to_points(matrix, points)
    np.testing.assert_allclose(moved[0], expected[:, :2], atol=1e-12)
    alike = apply_to_points(matrix[0], points)
    assert torch.equal(alike, moved)


@given(_thetas, _sides, _sides)
def test_from_normalized_is_the_frame_change_inverted(
    theta: Tensor, height: int, width: int
) -> None:
    to_frame = _pixels_to_normalized(height, width)
    back = np.linalg.inv(to_frame) @ _homogeneous(theta[0]) @ to_frame
    matrix = from_normalized(theta, torch.tensor([[height, width]]))
    expected = np.linalg.inv(back)[:2]
    np.testing.assert_allclose(matrix[0], expected, rtol=1e-9, atol=1e-8)


@given(_thetas, _sides, _sides)
def test_from_normalized_moves_points_by_the_closed_form(
    theta: Tensor, height: int, width: int
) -> None:
    """Boxes go n -> A^-1 n - A^-1 t, where the grid goes n -> A n + t."""
    sizes = torch.tensor([[height, width]])
    points = torch.rand(1, 5, 2, dtype=torch.float64, generator=_seeded())
    half = torch.tensor([width / 2, height / 2], dtype=torch.float64)
    linear = torch.linalg.inv(theta[0, :, :2])
    normalized = points[0] * 2 - 1
    expected = normalized @ linear.T - linear @ theta[0, :, 2]
    expected = expected * half + half
    matrix = from_normalized(theta, sizes)
    moved = apply_to_points(matrix, points * 2 * half)
    torch.testing.assert_close(moved[0], expected, rtol=1e-9, atol=1e-7)


@given(_thetas, _sides, _sides)
def test_to_normalized_undoes_from_normalized(
    theta: Tensor, height: int, width: int
) -> None:
    sizes = torch.tensor([[height, width]])
    again = to_normalized(from_normalized(theta, sizes), sizes)
    torch.testing.assert_close(again, theta, rtol=1e-9, atol=1e-9)


def test_to_normalized_is_what_affine_grid_wants() -> None:
    """An image of x coordinates, sampled on the grid, shows the source x."""
    matrix = torch.tensor([[[0.9, 0.1, 2.0], [-0.2, 1.1, 3.0]]]).double()
    size = torch.tensor([[12, 20]])
    theta = to_normalized(matrix, size)
    x = (torch.arange(20.0).double() + 0.5).expand(1, 1, 12, 20)
    grid = F.affine_grid(theta, [1, 1, 12, 20], align_corners=False)
    shown = F.grid_sample(x, grid, align_corners=False)[0, 0]
    center = torch.tensor([[[10.5, 6.5]]]).double()
    source = apply_to_points(invert(matrix), center)[0, 0]
    assert shown[6, 10].item() == pytest.approx(source[0].item())


@given(_sides, _sides)
@pytest.mark.parametrize('aspect', ['normalized', 'corrected'])
def test_the_identity_stays_exact(
    aspect: str, height: int, width: int
) -> None:
    theta = identity_matrix(2)
    sizes = torch.tensor([[height, width], [width, height]])
    assert torch.equal(from_normalized(theta, sizes, aspect), theta)  # type: ignore[arg-type]


@given(st.floats(-1.5, 1.5), _sides, _sides)
def test_a_corrected_rotation_is_a_rotation(
    angle: float, height: int, width: int
) -> None:
    cos, sin = math.cos(angle), math.sin(angle)
    theta = torch.tensor([[[cos, -sin, 0], [sin, cos, 0]]]).double()
    sizes = torch.tensor([[height, width]])
    linear = from_normalized(theta, sizes, 'corrected')[0, :, :2]
    product = linear @ linear.T
    torch.testing.assert_close(product, torch.eye(2).double())
    assert torch.linalg.det(linear).item() == pytest.approx(1)


def test_a_normalized_rotation_shears_a_wide_image() -> None:
    theta = torch.tensor([[[0.8, -0.6, 0], [0.6, 0.8, 0]]]).double()
    linear = from_normalized(theta, torch.tensor([[512, 1024]]))[0, :, :2]
    spread = torch.linalg.svdvals(linear)
    assert spread[0] / spread[1] > 1.5


@pytest.mark.parametrize('aspect', ['normalized', 'corrected'])
def test_translation_counts_half_sides_and_moves_content_against(
    aspect: str,
) -> None:
    theta = torch.tensor([[[1.0, 0, 0.5], [0, 1, -0.25]]])
    matrix = from_normalized(theta, torch.tensor([[40, 100]]), aspect)  # type: ignore[arg-type]
    assert matrix[0, :, 2].tolist() == [-25.0, 5.0]


@given(_entries, _entries, _sides, _sides)
def test_a_warp_about_the_corner_stays_so_when_it_is_corrected(
    x_by_y: float, y_by_x: float, height: int, width: int
) -> None:
    linear = torch.tensor([[0, x_by_y], [y_by_x, 0]]).double()
    change = torch.cat([linear, linear.sum(1, keepdim=True)], 1)[None]
    sizes = torch.tensor([[height, width]])
    theta = identity_matrix(1) + anchor_corner(change, sizes)
    back = invert(from_normalized(theta, sizes, 'corrected'))[0]
    torch.testing.assert_close(back[:, :2], linear + torch.eye(2).double())
    assert back[:, 2].abs().max() < 1e-9 * max(height, width)


def test_on_a_square_the_corner_needs_no_anchor() -> None:
    change = torch.randn(2, 5, 2, 3, generator=_seeded())
    sizes = torch.tensor([[31, 31], [64, 64]])
    assert anchor_corner(change, sizes).equal(change)


def test_an_unknown_aspect_is_named() -> None:
    with pytest.raises(ValueError, match="'square'"):
        from_normalized(
            identity_matrix(1),
            torch.tensor([[4, 4]]),
            'square',  # type: ignore[arg-type]
        )


def test_each_image_of_a_batch_has_its_own_frame() -> None:
    theta = identity_matrix(3) + 0.1
    sizes = torch.tensor([[10, 20], [30, 30], [64, 48]])
    together = from_normalized(theta, sizes)
    for i in range(3):
        alone = from_normalized(theta[i : i + 1], sizes[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone)


def test_half_precision_and_autocast_compute_in_float32() -> None:
    theta = identity_matrix(1) + 0.1
    sizes = torch.tensor([[800.0, 1333.0]])
    points = torch.tensor([[[1000.3, 700.7]]])
    matrix = from_normalized(theta, sizes)
    expected = apply_to_points(matrix, points), compose(matrix, matrix)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        inside = from_normalized(theta, sizes)
        assert torch.equal(inside, matrix)
        assert torch.equal(apply_to_points(inside, points), expected[0])
        assert torch.equal(compose(inside, inside), expected[1])
    assert from_normalized(theta.half(), sizes).dtype == torch.float32


def test_gradients_are_right() -> None:
    theta = identity_matrix(2, torch.float64) + 0.1 * torch.randn(
        2, 2, 3, dtype=torch.float64, generator=_seeded()
    )
    theta.requires_grad_()
    sizes = torch.tensor([[5.0, 9.0], [8.0, 6.0]])
    points = torch.rand(2, 3, 2, dtype=torch.float64, generator=_seeded())
    for aspect in ('normalized', 'corrected'):
        assert torch.autograd.gradcheck(
            lambda t, a=aspect: from_normalized(t, sizes, a), theta
        )
    assert torch.autograd.gradcheck(lambda t: to_normalized(t, sizes), theta)
    assert torch.autograd.gradcheck(
        lambda t: apply_to_points(compose(t, invert(t)), points), theta
    )
    assert torch.autograd.gradcheck(
        lambda t: apply_to_points(compose(t, t), points), theta
    )


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)
