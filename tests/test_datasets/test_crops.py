"""Test crops and flips of batches against a loop over images."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mmtst.datasets.crops import crop_and_flip, draw_crops


def slowly(images: Tensor, crops: Tensor, padding: int) -> Tensor:
    """Lay each image on a black one, cut a piece out, turn it round."""
    done = []
    for image, top, left, flipped in zip(images, *crops.tolist(), strict=True):
        channels, height, width = image.shape
        black = torch.zeros(
            channels,
            height + 2 * padding,
            width + 2 * padding,
            dtype=image.dtype,
        )
        black[:, padding : padding + height, padding : padding + width] = image
        piece = black[:, top : top + height, left : left + width]
        done.append(piece.flip(-1) if flipped else piece)
    return torch.stack(done)


@pytest.mark.parametrize('padding', [0, 1, 4])
@pytest.mark.parametrize('size', [(32, 32), (5, 7)])
def test_as_one_image_at_a_time(padding: int, size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(padding)
    images = torch.randint(
        0, 256, (40, 3, *size), dtype=torch.uint8, generator=generator
    )
    before = images.clone()
    crops = draw_crops(40, padding, 0.5, generator)
    got = crop_and_flip(images, crops, padding)
    assert got.dtype == torch.uint8
    assert torch.equal(got, slowly(images, crops, padding))
    assert torch.equal(images, before)
    # Some are flipped and some not, or half of this is not tested.
    assert 0 < int(crops[2].sum()) < 40


def test_by_hand() -> None:
    """A border of 1, the crop at (0, 1) and then at (2, 0), flipped.

    Bordered: 0 0 0 0 / 0 1 2 0 / 0 3 4 0 / 0 0 0 0. Rows 0-1 and columns 1-2
    are 0 0 / 1 2; rows 2-3 and columns 0-1 are 0 3 / 0 0, flipped 3 0 / 0 0.
    """
    images = torch.tensor([[[[1, 2], [3, 4]]]], dtype=torch.uint8)
    crops = torch.tensor([[0, 2], [1, 0], [0, 1]])
    got = crop_and_flip(images.repeat(2, 1, 1, 1), crops, 1)
    assert got.tolist() == [[[[0, 0], [1, 2]]], [[[3, 0], [0, 0]]]]


def test_all_places_are_equally_likely() -> None:
    count = 27_000
    crops = draw_crops(count, 4, 0.3, torch.Generator().manual_seed(0))
    assert crops.shape == (3, count) and crops.dtype == torch.long
    # 9 x 9 places; binomial, five standard deviations.
    places = torch.bincount(9 * crops[0] + crops[1], minlength=81)
    assert len(places) == 81
    expected = count / 81
    assert (places - expected).abs().max() < 5 * (expected * 80 / 81) ** 0.5
    spread = (count * 0.3 * 0.7) ** 0.5
    for part in (crops[2], crops[2][crops[0] < 4], crops[2][crops[1] > 4]):
        share = 0.3 * len(part)
        assert abs(int(part.sum()) - share) < 5 * spread
    assert set(crops[2].tolist()) == {0, 1}


@pytest.mark.parametrize(('flip', 'flipped'), [(0, 0), (1, 500)])
def test_never_and_always_are_exact(flip: float, flipped: int) -> None:
    crops = draw_crops(500, 0, flip)
    assert int(crops[2].sum()) == flipped
    assert not crops[:2].any()


@pytest.mark.parametrize('padding', [0, 1, 4, 31])
def test_the_last_place_is_not_exceeded(monkeypatch, padding: int) -> None:
    """By the largest number below 1."""
    most = torch.tensor(1.0, dtype=torch.float64)
    most = torch.nextafter(most, torch.zeros_like(most))
    monkeypatch.setattr(
        torch, 'rand', lambda size, **options: most.expand(size).clone()
    )
    crops = draw_crops(2, padding, 0.5)
    assert crops.tolist() == [[2 * padding] * 2, [2 * padding] * 2, [0, 0]]


def test_one_call_to_the_global_generator() -> None:
    torch.manual_seed(5)
    crops = draw_crops(6, 4, 0.5)
    after = torch.rand(1)
    torch.manual_seed(5)
    torch.rand((3, 6), dtype=torch.float64)
    assert torch.equal(torch.rand(1), after)
    again = draw_crops(6, 4, 0.5, torch.Generator().manual_seed(5))
    assert torch.equal(crops, again)
