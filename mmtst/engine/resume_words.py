"""Word the refusal of a checkpoint, and compare plain values."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from mmtst.engine.exactness import OFF
from mmtst.utils.errors import ConfigError


def misfit(
    runner: Any,
    what: str,
    key: str,
    got: object = None,
    allowed: str | None = None,
    *,
    off: bool = False,
) -> ConfigError:
    """Return the error for a checkpoint that does not fit.

    Args:
        runner: Of the training.
        what: What is wrong with it.
        key: Where in the file.
        got: What is there; cut to a line.
        allowed: What would fit, in words.
        off: Whether it would do without exact resume.
    """
    shown = None if got is None else _Shown(got)
    return ConfigError(
        f'the checkpoint cannot be resumed: {what}',
        where=f'{key} of {runner._load_from or "the checkpoint"}',
        got=shown,
        allowed=allowed,
        fix='give a checkpoint of this very training (config, classes, batch '
        'size), or take its weights alone, with load_from and without '
        '--resume' + (f', {OFF}' if off else ''),
    )


class _Shown:
    """Show a value in one line, however long it is."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __repr__(self) -> str:
        text = ' '.join(repr(self._value).split())
        return text if len(text) <= 160 else text[:157] + '...'


def is_number(value: Any) -> bool:
    """Say whether a value is a finite number; ``True`` is none."""
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and math.isfinite(value)
    )


def difference(own: Any, given: Any, path: str) -> str | None:
    """Say where a state is of another kind than the training's own.

    Numbers may differ, but are to be finite; lists are to have one length,
    dictionaries of strings the same keys, tensors one shape.

    Args:
        own: What the training has built.
        given: What the checkpoint has in its place.
        path: Of both, for the answer.

    Returns:
        A path and what is wrong there, or ``None``.
    """
    if isinstance(own, dict):
        return _difference_of_dicts(own, given, path)
    if isinstance(own, (list, tuple)):
        if not isinstance(given, (list, tuple)):
            return f'{path} is no list'
        if len(given) != len(own):
            return f'{path} has {len(given)} entries in place of {len(own)}'
        pairs = enumerate(zip(own, given, strict=True))
        found = (difference(a, b, f'{path}[{i}]') for i, (a, b) in pairs)
        return next((each for each in found if each is not None), None)
    good: bool = True
    if isinstance(own, Tensor):
        good = (
            isinstance(given, Tensor)
            and given.shape == own.shape
            and bool(torch.isfinite(given).all())
        )
    elif isinstance(own, bool):
        good = given is None or isinstance(given, bool)
    elif isinstance(own, (int, float)):
        good = is_number(given)
    elif isinstance(own, str):
        good = isinstance(given, str)
    elif own is None:
        plain = given is None or isinstance(given, (bool, str))
        good = plain or is_number(given)
    word = 'in the kind of'
    return None if good else f'{path} is {given!r:.60}, not {word} {own!r:.60}'


def _difference_of_dicts(
    own: dict[Any, Any], given: Any, path: str
) -> str | None:
    if not isinstance(given, dict):
        return f'{path} is no dictionary'
    if not all(isinstance(key, str) for key in own):
        # Such as milestones with their counts: its keys are values.
        good = all(is_number(k) and is_number(v) for k, v in given.items())
        return None if good else f'{path} holds what is no number'
    for key in own:
        if key not in given:
            return f'{path} lacks {key}'
    for key in given:
        if key not in own:
            return f'{path} has {key!r:.60}, which is not known here'
    found = (difference(v, given[k], f'{path}.{k}') for k, v in own.items())
    return next((each for each in found if each is not None), None)
