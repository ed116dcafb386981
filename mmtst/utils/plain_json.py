"""Read JSON of others within bounds.

Python's own reader takes a file of any size, kills the process where lists
are nested without end (mmrazor raises the limit of the recursion to a
million, far beyond the stack), takes minutes over a number of many digits, and
lets ``NaN`` through. Here each of these is one error.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
from os import PathLike
from typing import Any, NoReturn

import numpy as np

from mmtst.utils.errors import ConfigError

MEBIBYTE = 1 << 20
# How deep Python's reader may go on any stack.
_MOST_DEPTH = 500
_OPENING = np.zeros(256, np.int8)
_OPENING[list(b'[{')] = 1
_OPENING[list(b']}')] = -1
_NOT_STRUCTURE = bytes(set(range(256)) - set(b'"[]{}'))
# Of whole numbers: no 64-bit one has more, sign included.
_DIGITS = 20


class PlainJsonError(ValueError):
    """Report a text that is no JSON within bounds; it ends a sentence."""


def parse_json(
    text: str | bytes, *, depth: int | None = 32, finite: bool = True
) -> Any:
    """Read JSON out of a text.

    Args:
        text: The text, or its bytes in UTF-8, UTF-16 or UTF-32.
        depth: How deep containers may be nested, at most 500, which is also
            the bound of ``None``.
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
        if isinstance(text, str):
            data = text.encode('utf-8', 'surrogatepass')
        else:
            encoding = json.detect_encoding(text)
            text = text.decode(encoding)
            data = text.encode('utf-8', 'surrogatepass')
        _check_depth(data, min(depth or _MOST_DEPTH, _MOST_DEPTH))
        del data
        return json.loads(text, **hooks)
    except (MemoryError, RecursionError) as error:
        raise PlainJsonError('it is too large') from error
    except json.JSONDecodeError as error:
        raise PlainJsonError(f'it is not JSON: {error}') from error
    except UnicodeDecodeError as error:
        raise PlainJsonError(f'it is not text: {error}') from error


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

    too_large = refuse(
        f'is larger than {most_bytes / MEBIBYTE:g} MiB, and is not read'
    )
    try:
        # Not opened first: that waits for the other end of a pipe.
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise refuse('is not a file')
        if status.st_size > most_bytes:
            raise too_large
        with open(path, 'rb') as file:
            # Room for all that is asked for is set aside at once.
            data = file.read(status.st_size + 1)
    except FileNotFoundError as error:
        raise refuse('does not exist') from error
    except (OSError, ValueError) as error:
        # ValueError: of a null byte in the name, and of ours.
        if isinstance(error, ConfigError):
            raise
        reason = getattr(error, 'strerror', None) or error
        raise refuse(f'cannot be read: {reason}') from error
    if len(data) > status.st_size:
        raise refuse('grows while it is read')
    return data


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


def _check_depth(data: bytes, depth: int) -> None:
    """Look at the brackets alone, before anything goes down into them."""
    if b'\\' in data:
        # Of texts with escapes; first those that escape an escape.
        data = data.replace(b'\\\\', b'').replace(b'\\"', b'')
    brackets = re.sub(b'"[^"]*"', b'', data.translate(None, _NOT_STRUCTURE))
    steps = _OPENING[np.frombuffer(brackets, np.uint8)]
    if steps.cumsum(dtype=np.int64).max(initial=0) > depth:
        raise PlainJsonError(f'it is nested deeper than {depth} levels')
