"""Pair the feature levels of a student with those of its teacher."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F
from mmengine.logging import MMLogger, print_log
from torch import Tensor

Levels = Tensor | Sequence[Tensor]


def paired_levels(
    student: Levels,
    teacher: Levels,
    loss: str,
    *,
    same_channels: bool = True,
    num_levels: int | None = None,
    resize: bool = False,
) -> list[tuple[Tensor, Tensor]]:
    """Pair student and teacher tensors level by level.

    Args:
        student: One tensor or one for each level.
        teacher: The same number of tensors of the same shapes; detached.
        loss: Name of the loss, for error messages.
        same_channels: Whether the channel counts must agree too.
        num_levels: How many levels are paired, from the finest; further ones
            are left out. ``None`` pairs all.
        resize: Whether teacher maps of another height or width are resized,
            bilinearly, to the student's; the log says so once.

    Raises:
        ValueError: The numbers of levels or the shapes differ, or a side has
            less than ``num_levels``.
    """
    students = [student] if isinstance(student, Tensor) else list(student)
    teachers = [teacher] if isinstance(teacher, Tensor) else list(teacher)
    if num_levels is not None:
        if min(len(students), len(teachers)) < num_levels:
            raise ValueError(
                f'{loss}: num_levels is {num_levels}, but the student has '
                f'{len(students)} levels, the teacher {len(teachers)}'
            )
        students, teachers = students[:num_levels], teachers[:num_levels]
    if len(students) != len(teachers):
        raise ValueError(
            f'{loss}: the student has {len(students)} levels, the teacher '
            f'{len(teachers)}; choose pairs with the same strides'
        )
    if resize:
        teachers = [
            _resized(t, s, loss)
            for s, t in zip(students, teachers, strict=True)
        ]
    for index, (s, t) in enumerate(zip(students, teachers, strict=True)):
        first, second = list(s.shape), list(t.shape)
        if not same_channels:
            first[1:2], second[1:2] = [], []
        if first != second:
            raise ValueError(
                f'{loss}: level {index} is {tuple(s.shape)} in the student '
                f'and {tuple(t.shape)} in the teacher; a connector on the '
                'student may match the channels, the strides must agree'
            )
    return [(s, t.detach()) for s, t in zip(students, teachers, strict=True)]


def _resized(teacher: Tensor, student: Tensor, loss: str) -> Tensor:
    """Return a teacher's map in the height and width of the student's."""
    mine, other = tuple(student.shape[-2:]), tuple(teacher.shape[-2:])
    if teacher.dim() != 4 or student.dim() != 4 or mine == other:
        return teacher
    run = MMLogger.get_current_instance().instance_name
    _say_resized(run, loss, other, mine)
    return F.interpolate(
        teacher.detach(), size=mine, mode='bilinear', align_corners=False
    )


@cache
def _say_resized(
    run: str, loss: str, given: tuple[int, ...], wanted: tuple[int, ...]
) -> None:
    """Log it, once for each run and pair of sizes."""
    del run
    print_log(
        f"{loss}: the teacher's maps of {given} are resized to the student's "
        f'{wanted} (height, width)',
        'current',
    )


def rows_of(logits: Tensor) -> Tensor:
    """Flatten a map to one row for each position.

    Args:
        logits: (B, C, H, W), or (N, C), which has its rows already.

    Returns:
        (B * H * W, C) or (N, C).
    """
    if logits.dim() != 4:
        return logits
    return logits.permute(0, 2, 3, 1).flatten(0, 2)


def full_precision(features: Tensor) -> Tensor:
    """Return half-precision tensors in float32, others as they are.

    Sums over a feature map overflow in half precision.
    """
    if features.dtype in (torch.float16, torch.bfloat16):
        return features.float()
    return features
