"""Check single options."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, TypedDict

from mmtst.utils.errors import ConfigError


class Bounds(TypedDict, total=False):
    """Hold what ``check_number`` can be asked for, in tables of options."""

    least: float
    above: float
    most: float
    below: float
    whole: bool
    optional: bool
    word: str


def check_choice(where: str, value: Any, allowed: Collection[str]) -> None:
    """Check an option that is one of some words.

    Args:
        where: Path of the option in the config; its last part is its name.
        value: What was given.
        allowed: The words, in the order to list them in.

    Raises:
        ConfigError: If the value is none of them.
    """
    if not isinstance(value, str) or value not in allowed:
        raise ConfigError(
            f'Unknown {_name(where)}',
            where=where,
            got=value,
            allowed=', '.join(allowed),
        )


def check_flag(where: str, value: Any) -> None:
    """Check an option that is ``True`` or ``False``.

    Args:
        where: Path of the option in the config; its last part is its name.
        value: What was given.

    Raises:
        ConfigError: If the value is neither.
    """
    if not isinstance(value, bool):
        raise ConfigError(
            f'{_name(where)} is neither True nor False',
            where=where,
            got=value,
            allowed='True, False',
        )


def check_number(
    where: str,
    value: Any,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
    whole: bool = False,
    optional: bool = False,
    word: str | None = None,
) -> None:
    """Check a numeric option.

    Args:
        where: Path of the option in the config; its last part is its name.
        value: What was given.
        least: Smallest value allowed.
        above: Bound that it must exceed.
        most: Largest value allowed.
        below: Bound that it must stay under.
        whole: Whether it must be an integer.
        optional: Whether ``None`` is allowed.
        word: A word that is allowed too.

    Raises:
        ConfigError: If the value is of another kind or out of range.
    """
    if value is None and optional:
        return
    if isinstance(value, str) and value == word:
        return
    good = (
        isinstance(value, int if whole else (int, float))
        and not isinstance(value, bool)
        and math.isfinite(value)
        and (least is None or value >= least)
        and (above is None or value > above)
        and (most is None or value <= most)
        and (below is None or value < below)
    )
    if good:
        return
    bounds = [
        f'{text} {bound:g}'
        for text, bound in (
            ('from', least),
            ('over', above),
            ('up to', most),
            ('below', below),
        )
        if bound is not None
    ]
    kind = 'an integer' if whole else 'a finite number'
    words = [' '.join([kind, ', '.join(bounds)]).strip()]
    words += [repr(word)] if word is not None else []
    words += ['None'] if optional else []
    raise ConfigError(
        f'{_name(where)} is out of range or of the wrong kind',
        where=where,
        got=value,
        allowed=' or '.join(words),
    )


def _name(where: str) -> str:
    return where.rpartition('.')[2]
