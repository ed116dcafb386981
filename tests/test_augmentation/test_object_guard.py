"""Test that draws which empty images are redrawn, then shrunk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mmtst.augmentation.base import (
    AFFINE_OPERATORS,
    AugmentDraw,
    AugmentRecord,
    Policy,
)
from mmtst.augmentation.encoder import AugmentationEncoder
from mmtst.augmentation.object_guard import draw_keeping_objects
from mmtst.geometry import from_normalized, identity_matrix, warp_boxes

SIZES = torch.tensor([[100.0, 100.0], [100.0, 200.0]])


class _Shifts:
    """Shift each image in x by a listed share of its side, draw by draw.

    ``gate_noise[:, 0]`` carries the share, so that a draw tells its shift.
    """

    def __init__(self, *shares: list[float]) -> None:
        self.shares = shares
        self.draws = 0
        self.asked: list[tuple[object, ...]] = []

    def draw(
        self,
        sizes: Tensor,
        generator: torch.Generator,
        operators: Sequence[str] | None = None,
    ) -> AugmentDraw:
        batch = len(sizes)
        noise = torch.rand(batch, 14, generator=generator)
        noise[:, 0] = torch.tensor(self.shares[self.draws])
        self.draws += 1
        self.asked.append((operators,))
        return AugmentDraw(
            sizes=sizes,
            selected=torch.ones(batch, 14, dtype=torch.bool),
            gate_noise=noise,
            magnitude_noise=torch.zeros(batch, 11),
            apply_noise=torch.zeros(batch, 11),
            encoder_noise=torch.zeros(batch, 11, 1),
            mirror=torch.ones(batch, 11),
            cutout_center=torch.zeros(batch, 2),
            shrink=torch.ones(batch),
        )

    def resolve(
        self,
        draw: AugmentDraw,
        policy: Policy | None = None,
        temperature: float | None = None,
    ) -> AugmentRecord:
        self.asked.append((policy, temperature))
        theta = identity_matrix(len(draw))
        theta[:, 0, 2] = -2 * draw.gate_noise[:, 0] * draw.shrink
        return AugmentRecord(
            draw,
            gates=torch.zeros(len(draw), 14),
            magnitudes=torch.zeros(len(draw), 11),
            apply_gates=torch.ones(len(draw), 11),
            matrix=from_normalized(theta, draw.sizes),
        )


def _boxes() -> list[Tensor]:
    """Return an object at the right of each image, one more in the second."""
    return [
        torch.tensor([[80.0, 10, 100, 40]]),
        torch.tensor([[180.0, 10, 200, 40], [0, 0, 40, 40]]),
    ]


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_a_draw_that_keeps_enough_stays() -> None:
    encoder = _Shifts([0.1, 0.0])
    draw, stats = draw_keeping_objects(
        encoder, None, SIZES, _boxes(), _generator()
    )
    assert encoder.draws == 1
    assert draw.gate_noise[:, 0].tolist() == pytest.approx([0.1, 0.0])
    assert draw.shrink.tolist() == [1, 1]
    assert stats.objects_kept == 1
    # 10 of 20 columns stay of the first, the others wholly.
    assert stats.visible_area == pytest.approx((0.5 + 1 + 1) / 3)
    assert stats.box_scale == pytest.approx((0.5**0.5 + 1 + 1) / 3)
    assert stats.redraws == stats.shrunk == 0


def test_only_images_that_lose_objects_are_redrawn() -> None:
    encoder = _Shifts([0.1, 0.5], [0.7, 0.0])
    draw, stats = draw_keeping_objects(
        encoder, None, SIZES, _boxes(), _generator()
    )
    assert encoder.draws == 2
    assert draw.gate_noise[:, 0].tolist() == pytest.approx([0.1, 0.0])
    assert stats.redraws == 0.5
    assert stats.objects_kept == 1
    # The first image has kept the rest of its draw too.
    first = torch.rand(2, 14, generator=_generator())
    assert torch.equal(draw.gate_noise[0, 1:], first[0, 1:])
    assert not torch.equal(draw.gate_noise[1, 1:], first[1, 1:])


def test_an_image_is_shrunk_after_the_redraws() -> None:
    """Shifts by 50 and 25 px lose the object, 12.5 leave 7.5 px of 20."""
    encoder = _Shifts(*([[0.5, 0.0]] * 3))
    draw, stats = draw_keeping_objects(
        encoder, None, SIZES, _boxes(), _generator()
    )
    assert encoder.draws == 3
    assert draw.shrink.tolist() == [0.25, 1]
    assert stats.redraws == 1
    assert stats.shrunk == 0.5
    assert stats.objects_kept == 1
    matrix = encoder.resolve(draw).matrix
    assert matrix[0, 0, 2].item() == pytest.approx(12.5)


def test_at_last_the_image_is_not_moved() -> None:
    """So far out that a sixty-fourth of it still loses the object."""
    encoder = _Shifts(*([[20.0, 0.0]] * 3))
    draw, stats = draw_keeping_objects(
        encoder, None, SIZES, _boxes(), _generator()
    )
    assert draw.shrink.tolist() == [0, 1]
    matrix = encoder.resolve(draw).matrix
    assert torch.equal(matrix, identity_matrix(2))
    assert stats.objects_kept == stats.visible_area == 1


def test_the_number_of_redraws_is_an_argument() -> None:
    encoder = _Shifts([0.5, 0.0])
    draw, stats = draw_keeping_objects(
        encoder, None, SIZES, _boxes(), _generator(), redraws=0
    )
    assert encoder.draws == 1
    assert draw.shrink.tolist() == [0.25, 1]
    assert stats.redraws == 0


def test_the_shares_are_arguments() -> None:
    """Half of the second image's objects go: allowed at 0.5."""
    encoder = _Shifts([0.0, 0.15])
    draw, stats = draw_keeping_objects(
        encoder, None, SIZES, _boxes(), _generator(), min_kept=0.5
    )
    assert draw.shrink.tolist() == [1, 1]
    assert stats.objects_kept == pytest.approx(2 / 3)
    encoder = _Shifts([0.1, 0.0], [0.0, 0.0])
    draw_keeping_objects(
        encoder, None, SIZES, _boxes(), _generator(), min_visible=0.6
    )
    assert encoder.draws == 2


def test_images_without_objects_are_left_alone() -> None:
    encoder = _Shifts([0.9, 0.9])
    draw, stats = draw_keeping_objects(
        encoder, None, SIZES, [torch.zeros(0, 4)] * 2, _generator()
    )
    assert encoder.draws == 1
    assert draw.shrink.tolist() == [1, 1]
    assert (stats.objects_kept, stats.visible_area, stats.box_scale) == (
        1,
        1,
        1,
    )


def test_objects_that_never_counted_cause_nothing() -> None:
    """No area, under a pixel, or out of the image from the start."""
    boxes = torch.tensor(
        [[5.0, 5, 5, 9], [5, 5, 5.5, 9], [200, 5, 220, 9], [95, 5, 130, 9]]
    )
    encoder = _Shifts([0.2])
    draw, stats = draw_keeping_objects(
        encoder, None, SIZES[:1], [boxes], _generator()
    )
    assert encoder.draws == 1
    assert draw.shrink.tolist() == [1]
    assert stats.objects_kept == 1


def test_the_same_seed_gives_the_same_draw() -> None:
    draws = []
    for _ in range(2):
        encoder = _Shifts([0.5, 0.5], [0.5, 0.0], [0.1, 0.3])
        draw, _ = draw_keeping_objects(
            encoder, None, SIZES, _boxes(), _generator()
        )
        draws.append(draw)
    for name in AugmentDraw.__dataclass_fields__:
        assert torch.equal(getattr(draws[0], name), getattr(draws[1], name))


def test_policy_temperature_and_operators_are_handed_on() -> None:
    policy = Policy(torch.ones(14), torch.ones(11)).leaf()
    encoder = _Shifts(*([[0.5, 0.5]] * 3))
    draw_keeping_objects(
        encoder,
        policy,
        SIZES,
        _boxes(),
        _generator(),
        operators=['Rotate'],
        temperature=0.3,
    )
    drawn = [a for a in encoder.asked if len(a) == 1]
    resolved = [a for a in encoder.asked if len(a) == 2]
    assert drawn == [(['Rotate'],)] * 3
    assert len(resolved) >= 3
    assert all(a[0] is policy and a[1] == 0.3 for a in resolved)


def test_the_encoders_strongest_draws_keep_objects() -> None:
    """Objects along the borders, every affine operator fully applied."""
    encoder = AugmentationEncoder(num_operators=5, mirror=True)
    policy = Policy(torch.full((14,), 3.0), torch.full((11,), 3.0))
    generator = torch.Generator().manual_seed(5)
    sizes = torch.tensor([[120.0, 200], [200, 150], [160, 160], [90, 220]])
    boxes = []
    for height, width in sizes.tolist():
        left = torch.tensor([[0.0, 5, 15, 25], [0, 60, 20, 80]])
        right = torch.tensor([[width - 15, 10, width, height / 2]])
        boxes.append(torch.cat([left, right]))
    counts = {'redraws': 0.0, 'shrunk': 0.0}
    for _ in range(8):
        draw, stats = draw_keeping_objects(
            encoder,
            policy,
            sizes,
            boxes,
            generator,
            operators=list(AFFINE_OPERATORS),
        )
        matrix = encoder.resolve(draw, policy).matrix
        for i, own in enumerate(boxes):
            _, visible = warp_boxes(own, matrix[i], sizes[i])
            assert (visible >= 0.3).float().mean() >= 0.7
        assert 0.7 <= stats.objects_kept <= 1
        counts['redraws'] += stats.redraws
        counts['shrunk'] += stats.shrunk
    # Or the test would not have put the guard to the test.
    assert counts['redraws'] > 0
    assert counts['shrunk'] > 0


def test_boxes_and_sizes_must_be_of_the_same_batch() -> None:
    encoder = _Shifts([0.0, 0.0])
    with pytest.raises(ValueError, match='1 images, sizes of 2'):
        draw_keeping_objects(encoder, None, SIZES, _boxes()[:1], _generator())


def test_stats_are_frozen() -> None:
    _, stats = draw_keeping_objects(
        _Shifts([0.0, 0.0]), None, SIZES, _boxes(), _generator()
    )
    assert replace(stats, redraws=1.0).redraws == 1
    with pytest.raises(AttributeError):
        stats.redraws = 2.0  # type: ignore[misc]
