"""Run a two-stage detector for its first stage's losses alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from mmtst.models.objectives.inversion import loss_modules
from mmtst.utils.errors import ConfigError

_WHERE = 'model.objective.teacher_roi_losses'


def check_two_stage(teacher: nn.Module) -> None:
    """Refuse a teacher without RPN losses to keep or a RoI head to leave out.

    Raises:
        ConfigError: One of the two is missing.
    """
    rpn_head, roi_head = (
        getattr(teacher, name, None) for name in ('rpn_head', 'roi_head')
    )
    lost = []
    if rpn_head is None or not loss_modules(rpn_head):
        lost.append('RPN with losses')
    if roi_head is None:
        lost.append('RoI head')
    if lost:
        raise ConfigError(
            f'the teacher, a {type(teacher).__name__}, has no '
            f'{" and no ".join(lost)}, so its RoI losses cannot be left out',
            where=_WHERE,
            got=False,
            allowed='True; False for two-stage teachers with an RPN',
            fix=f'leave out {_WHERE}',
        )


@contextmanager
def roi_losses(teacher: nn.Module, kept: bool) -> Iterator[None]:
    """Keep a teacher's RoI losses, or spare it the work of them.

    Args:
        teacher: Called inside the ``with`` in ``mode='loss'``. It is as it
            was afterwards, also after an exception.
        kept: If ``False``, its RoI head has no losses, and does not run.

    Raises:
        ConfigError: They are not kept, and it is no two-stage detector.
    """
    if kept:
        yield
        return
    check_two_stage(teacher)
    roi_head: Any = teacher.roi_head
    own = vars(roi_head).get('loss')
    roi_head.loss = _no_losses
    try:
        yield
    finally:
        del roi_head.loss
        if own is not None:
            roi_head.loss = own


def _no_losses(*_: Any, **__: Any) -> dict[str, Any]:
    return {}
