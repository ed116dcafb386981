"""Pair the feature levels of a student with those of its teacher."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

Levels = Tensor | Sequence[Tensor]


def paired_levels(
    student: Levels, teacher: Levels, loss: str, *, same_channels: bool = True
) -> list[tuple[Tensor, Tensor]]:
    """Pair student and teacher tensors level by level.

    Args:
        student: One tensor or one for each level.
        teacher: The same number of tensors of the same shapes; detached.
        loss: Name of the loss, for error messages.
        same_channels: Whether the channel counts must agree too.

    Raises:
        ValueError: The numbers of levels or the shapes differ.
    """
    students = [student] if isinstance(student, Tensor) else list(student)
    teachers = [teacher] if isinstance(teacher, Tensor) else list(teacher)
    if len(students) != len(teachers):
        raise ValueError(
            f'{loss}: the student has {len(students)} levels, the teacher '
            f'{len(teachers)}; choose pairs with the same strides'
        )
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
