"""Keep draws from emptying images of their objects.

No gradient rewards dropping objects, since ground truth is detached, but an
emptied image scores the minimum of both terms of the objective.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from mmtst.augmentation.base import AugmentDraw, AugmentRecord, Policy
from mmtst.geometry import identity_matrix, keep_boxes, warp_boxes
from mmtst.utils.checks import Bounds, check_choice, check_number

_HALVINGS = 6


class Augmentation(Protocol):
    """Name what the guard needs of an augmentation."""

    def draw(
        self,
        sizes: Tensor,
        generator: torch.Generator,
        operators: Sequence[str] | None = None,
    ) -> AugmentDraw:
        """Draw the randomness of one batch."""

    def resolve(
        self,
        draw: AugmentDraw,
        policy: Policy | None = None,
        temperature: float | None = None,
    ) -> AugmentRecord:
        """Resolve a draw under a policy."""


@dataclass(frozen=True)
class GuardStats:
    """Say what became of a batch's objects.

    Objects are boxes that count before the warp: at least a pixel a side and
    ``min_visible`` of them inside the valid region. Without any the first
    three are 1.

    Attributes:
        objects_kept: Fraction of objects that count after the warp.
        visible_area: Mean fraction of an object in view.
        box_scale: Mean over objects kept of the square root of its box's
            area after the warp over that before.
        redraws: Mean number of redraws per image.
        shrunk: Fraction of images shrunk toward identity.
    """

    objects_kept: float
    visible_area: float
    box_scale: float
    redraws: float
    shrunk: float


_GUARD_BOUNDS = {
    'min_kept': Bounds(least=0, most=1),
    'min_visible': Bounds(least=0, most=1),
    'redraws': Bounds(least=0, whole=True),
}


def check_guard(options: Mapping[str, Any]) -> None:
    """Check options of :func:`draw_keeping_objects` as a config gives them.

    Raises:
        ConfigError: An unknown option, or one out of range.
    """
    for name, value in options.items():
        check_choice('model.guard', name, _GUARD_BOUNDS)
        check_number(f'model.guard.{name}', value, **_GUARD_BOUNDS[name])


@torch.no_grad()
def draw_keeping_objects(
    encoder: Augmentation,
    policy: Policy | None,
    sizes: Tensor,
    boxes: Sequence[Tensor],
    generator: torch.Generator,
    min_kept: float = 0.7,
    min_visible: float = 0.3,
    redraws: int = 2,
    *,
    operators: Sequence[str] | None = None,
    temperature: float | None = None,
) -> tuple[AugmentDraw, GuardStats]:
    """Draw for a batch such that its images keep their objects.

    An image that loses too many is drawn again, then shrunk toward identity:
    halved until it keeps enough, at last not moved at all. Other images keep
    their draw. Under presets that draw operators per batch a redrawn image
    has its own.

    Args:
        encoder: The augmentation.
        policy: The policy to resolve under; ``None`` for the encoder's own.
        sizes: (B, 2), (height, width) of the valid regions in pixels.
        boxes: For each of the B images (N_i, 4), (x1, y1, x2, y2) in pixels,
            on the device of ``sizes``. An image without any is never redrawn.
        generator: A CPU generator. How far it advances depends on how often
            is drawn, nothing else.
        min_kept: Least fraction of an image's objects to keep.
        min_visible: Least fraction in view of an object that counts.
        redraws: How often an image is drawn again at most.
        operators: The only candidates, by name; ``None`` for all.
        temperature: Of the gates; ``None`` for the encoder's own.

    Returns:
        tuple[AugmentDraw, GuardStats]: The draw, to be resolved under the
        same policy, and what became of the objects.

    Raises:
        ValueError: If there are not B sets of boxes.
    """
    if len(boxes) != len(sizes):
        raise ValueError(
            f'boxes are of {len(boxes)} images, sizes of {len(sizes)}'
        )
    if not any(len(b) for b in boxes):  # Nothing to keep: nothing to check.
        still = GuardStats(1.0, 1.0, 1.0, 0.0, 0.0)
        return encoder.draw(sizes, generator, operators), still
    objects = _Objects(sizes, boxes, min_visible)

    def enough(draw: AugmentDraw) -> Tensor:
        record = encoder.resolve(draw, policy, temperature)
        return objects.share_kept(record.matrix) >= min_kept

    draw = encoder.draw(sizes, generator, operators)
    good = enough(draw)
    drawn_again = torch.zeros_like(good, dtype=torch.float32)
    for _ in range(redraws):
        if bool(good.all()):
            break
        drawn_again += ~good
        draw = draw.where(good, encoder.draw(sizes, generator, operators))
        good = enough(draw)

    shrunk = ~good
    for halving in range(_HALVINGS + 1):
        if bool(good.all()):
            break
        factor = 0.5 if halving < _HALVINGS else 0.0
        shrink = torch.where(good, draw.shrink, draw.shrink * factor)
        draw = draw.with_shrink(shrink)
        # Not moved at all is enough by definition, whatever the record says.
        good = enough(draw) if factor else torch.ones_like(good)

    matrix = encoder.resolve(draw, policy, temperature).matrix
    numbers = [*objects.survey(matrix), drawn_again.mean()]
    numbers.append(shrunk.float().mean())
    return draw, GuardStats(*torch.stack(numbers).tolist())


class _Objects:
    """Hold the objects of a batch in one tensor, and count what is left."""

    def __init__(
        self, sizes: Tensor, boxes: Sequence[Tensor], min_visible: float
    ) -> None:
        self._min_visible = min_visible
        counts = torch.tensor([len(b) for b in boxes], device=sizes.device)
        images = torch.arange(len(boxes), device=sizes.device)
        image = images.repeat_interleave(counts)
        every = torch.cat([b.detach().reshape(-1, 4).float() for b in boxes])
        still = identity_matrix(1, device=sizes.device)[0]
        before, visible = warp_boxes(every, still, sizes[image])
        counted = keep_boxes(before, visible, min_visible=min_visible)
        self._boxes, self._before = every[counted], before[counted]
        self._image = image[counted]
        self._sizes = sizes[self._image]
        self._member = self._image == images[:, None]

    def share_kept(self, matrix: Tensor) -> Tensor:
        """Return the share of each image's objects that is kept, (B,)."""
        kept, _, _ = self._warp(matrix)
        total = self._member.sum(1)
        share = (self._member & kept).sum(1) / total.clamp(min=1)
        return torch.where(total > 0, share, 1.0)

    def survey(self, matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the share kept, the mean in view and the mean scale."""
        kept, visible, boxes = self._warp(matrix)
        scale = (_areas(boxes[kept]) / _areas(self._before[kept])).sqrt()
        means = []
        for values in (kept.float(), visible, scale):
            means.append(values.mean() if len(values) else values.new_ones(()))
        return means[0], means[1], means[2]

    def _warp(self, matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        boxes, visible = warp_boxes(
            self._boxes, matrix[self._image], self._sizes
        )
        kept = keep_boxes(boxes, visible, min_visible=self._min_visible)
        return kept, visible, boxes


def _areas(boxes: Tensor) -> Tensor:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
