"""Load into a distillation what was trained as its student alone."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.logging import print_log
from torch import nn

from mmtst.utils.checkpoint import (
    check_finite,
    check_state_dict,
    load_exactly,
)

PREFIX = 'architecture.'
_WHERE = 'load_from'
_SOURCE = 'the checkpoint'


def take_student_weights(
    algorithm: nn.Module, student: nn.Module, state_dict: dict[str, Any]
) -> None:
    """Check the student's part of a state dict, and load a plain student's.

    mmengine loads what fits and logs the names of all else: a student's own
    checkpoint, which says ``backbone`` for ``architecture.backbone``, would
    leave it at its initial weights.

    A distillation's state dict has to hold all of the student; what else it
    holds or lacks (a policy, connectors) is left to the caller. One without
    any name of a distillation is taken for the student's, must fit it key by
    key, and is loaded into it.

    Args:
        algorithm: The distillation.
        student: Its student.
        state_dict: What is about to be loaded; that of a plain student is
            replaced, in place, by the algorithm's own with the student's
            weights in it.

    Raises:
        ConfigError: It fits neither; nothing has been loaded then.
    """
    check_state_dict(state_dict, where=_WHERE, source=_SOURCE)
    inner = {
        name.removeprefix(PREFIX): value
        for name, value in state_dict.items()
        if name.startswith(PREFIX)
    }
    check_finite(inner or state_dict, student, where=_WHERE, source=_SOURCE)
    if inner:
        load_exactly(
            student, inner, where=_WHERE, source=f'the student of {_SOURCE}'
        )
        return
    load_exactly(student, state_dict, where=_WHERE, source=_SOURCE)
    print_log(
        f'{_SOURCE[0].upper()}{_SOURCE[1:]} is of a plain '
        f'{type(student).__name__}: it was loaded into the student. All else '
        'of the distillation starts anew.',
        logger='current',
    )
    with torch.no_grad():
        own = algorithm.state_dict()
    state_dict.clear()
    state_dict.update(own)
