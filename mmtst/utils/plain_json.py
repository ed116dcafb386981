"""Read JSON of others within bounds.

Python's own reader takes a file of any size, ends in a ``RecursionError``
where lists are nested without end, takes minutes over a number of many
digits, and lets ``NaN`` through. Here each of these is one error.
"""

from __future__ import annotations

import json
import math
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from typing import Any, NoReturn

from mmtst.utils.errors import ConfigError

MEBIBYTE = 1 << 20
# Of whole numbers: no 64-bit one has more, sign included.
_DIGITS = 20
# Python's own limit.
_RECURSIONS = 1000


class PlainJsonError(ValueError):
    """Report a text that is no JSON within bounds; it ends a sentence."""


def parse_json(
    text: str | bytes, *, depth: int | None = 32, finite: bool = True
) -> Any:
    """Read JSON out of a text.

    Args:
        text: The text, or its bytes in UTF-8, UTF-16 or UTF-32.
        depth: How deep containers may be nested. ``None`` leaves the bound
            to Python (around 1000) and saves a walk over the content, about
            a quarter of the time.
        finite: Whether to refuse numbers that are not finite, ``1e999``
            among them. Costs about a third more where most numbers are
            fractions.

    Returns:
        The content: containers, texts, numbers, ``True``, ``False`` and
        ``None``.

    Raises:
        PlainJsonError: It is something else, or beyond the bounds.
    """
    hooks: dict[str, Any] = {'parse_int': _whole_number}
    if finite:
        hooks.update(parse_constant=_refuse, parse_float=_finite_number)
    try:
        with _usual_recursion_limit():
            content = json.loads(text, **hooks)
    except PlainJsonError:
        raise
    except (RecursionError, MemoryError) as error:
        raise PlainJsonError('it is nested too deep, or too large') from error
    except json.JSONDecodeError as error:
        raise PlainJsonError(f'it is not JSON: {error}') from error
    except UnicodeDecodeError as error:
        raise PlainJsonError(f'it is not text: {error}') from error
    if depth is not None:
        _check_depth(content, depth)
    return content


def read_json(
    path: str | PathLike[str],
    *,
    where: str,
    what: str = 'the file',
    fix: str | None = None,
    most_bytes: int = 64 * MEBIBYTE,
    depth: int | None = 32,
    finite: bool = True,
) -> Any:
    """Read a JSON file.

    Args:
        path: Of the file.
        where: The option that named it, for error messages.
        what: What the file is, for error messages.
        fix: What the user can do where it is not usable.
        most_bytes: The largest size to read.
        depth: As for :func:`parse_json`.
        finite: Likewise.

    Returns:
        The content.

    Raises:
        ConfigError: The file is missing, no file, too large, or not JSON
            within the bounds.
    """
    data = read_bounded(
        path, where=where, what=what, fix=fix, most_bytes=most_bytes
    )
    try:
        return parse_json(data, depth=depth, finite=finite)
    except PlainJsonError as error:
        raise ConfigError(
            f'{what} cannot be read: {error}',
            where=where,
            got=str(path),
            fix=fix,
        ) from error


def read_bounded(
    path: str | PathLike[str],
    *,
    where: str,
    what: str = 'the file',
    fix: str | None = None,
    most_bytes: int = 64 * MEBIBYTE,
) -> bytes:
    """Read a file whole, unless it is too large.

    Pipes and devices, which may never end, are refused.

    Args:
        path: Of the file.
        where: The option that named it, for error messages.
        what: What the file is, for error messages.
        fix: What the user can do where it is not usable.
        most_bytes: The largest size to read.

    Returns:
        The content.

    Raises:
        ConfigError: The file is missing, no file, or too large.
    """

    def refuse(problem: str) -> ConfigError:
        return ConfigError(
            f'{what} {problem}', where=where, got=str(path), fix=fix
        )

    try:
        # Not opened first: that waits for the other end of a pipe.
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise refuse('is not a file')
        with open(path, 'rb') as file:
            data = file.read(most_bytes + 1)
    except FileNotFoundError as error:
        raise refuse('does not exist') from error
    except (OSError, ValueError) as error:
        # ValueError: of a null byte in the name, and of ours.
        if isinstance(error, ConfigError):
            raise
        reason = getattr(error, 'strerror', None) or error
        raise refuse(f'cannot be read: {reason}') from error
    if len(data) > most_bytes:
        raise refuse(
            f'is larger than {most_bytes / MEBIBYTE:g} MiB, and is not read'
        )
    return data


@contextmanager
def _usual_recursion_limit() -> Iterator[None]:
    """Let a recursion end in an error before it ends the process.

    mmrazor raises Python's limit to 2**20 when it is imported; json then
    overflows the stack.
    """
    before = sys.getrecursionlimit()
    frame, depth = sys._getframe(), 0
    while frame.f_back is not None:
        frame, depth = frame.f_back, depth + 1
    sys.setrecursionlimit(min(before, depth + _RECURSIONS))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def _whole_number(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise PlainJsonError(
            f'it holds a whole number of {len(digits.lstrip("-"))} digits'
        )
    return int(digits)


def _finite_number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise PlainJsonError('it holds a number that is too large')
    return number


def _refuse(constant: str) -> NoReturn:
    raise PlainJsonError(f'it holds {constant}, which is no number')


def _check_depth(content: Any, depth: int) -> None:
    level = [content] if isinstance(content, (dict, list)) else []
    for _ in range(depth):
        level = [
            item
            for container in level
            for item in (
                container.values()
                if isinstance(container, dict)
                else container
            )
            if isinstance(item, (dict, list))
        ]
        if not level:
            return
    raise PlainJsonError(f'it is nested deeper than {depth} levels')
