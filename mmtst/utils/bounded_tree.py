"""Check that what was read is a tree of a size that fits the file's.

A kilobyte may hold two lists that each hold the next two, sixty times over:
whoever prints, copies or goes through them does not end, nor does he where a
list holds itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from pickle import UnpicklingError
from typing import Any

MOST_DEPTH = 100
_MOST_NODES = 1_000_000
_LEAVES = (str, bytes, bytearray, bool, int, float, complex, type(None))


class BoundError(UnpicklingError):
    """Report a file that is broken or beyond the bounds; ends a sentence."""


def check_tree(content: Any) -> None:
    """Check that containers hold each other a bounded number of times.

    Whoever goes through what was read, prints or copies it, then ends.

    Args:
        content: What was read; objects count with their attributes.

    Raises:
        BoundError: A container holds itself, they are nested too deep, or
            shared so often that the whole is much larger than its parts.
    """
    # By identity: size with all that is below, and depth. None while open.
    known: dict[int, tuple[int, int] | None] = {}
    stack = [content]
    total = opened = 0
    while stack:
        value = stack[-1]
        if id(value) not in known:
            known[id(value)] = None
            opened += 1
            _check_depth(opened)
            below = list(_containers_in(value))
            if any(known.get(id(item), ()) is None for item in below):
                raise BoundError('it holds a container that contains itself')
            # Those seen already are not gone through again.
            stack.extend(item for item in below if id(item) not in known)
            continue
        stack.pop()
        if known[id(value)] is not None:
            continue
        opened -= 1
        below = list(_containers_in(value))
        sizes = [known[id(item)] for item in below]
        whole = _length_of(value) + sum(found[0] for found in sizes if found)
        depth = 1 + max((found[1] for found in sizes if found), default=0)
        _check_depth(depth)
        total += _length_of(value)
        if whole > _MOST_NODES + 16 * total:
            raise BoundError('its parts hold each other over and over')
        known[id(value)] = whole, depth


def _check_depth(depth: int) -> None:
    if depth > MOST_DEPTH:
        raise BoundError(f'it is nested deeper than {MOST_DEPTH} levels')


def _containers_in(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        yield from _not_leaves(value.values())
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from _not_leaves(value)
    # Of tables too: torch's ordered dictionaries have attributes.
    attributes = getattr(value, '__dict__', None)
    if attributes and not isinstance(value, type):
        yield from _not_leaves(attributes.values())


def _not_leaves(values: Iterable[Any]) -> Iterable[Any]:
    return (value for value in values if type(value) not in _LEAVES)


def _length_of(value: Any) -> int:
    return 1 + (len(value) if isinstance(value, (dict, list, tuple)) else 0)
