"""Read and replace the small files beside a training's checkpoints.

They may have been cut short, edited, or be something else altogether: a
folder, a link, another program's file. None of that is to stop a training,
and nothing is to be written through a link or over a folder.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.logging import print_log

# Longer lines are no records of ours.
_MOST_BYTES = 1 << 20
_MOST_NESTED = 100
# A string, whole or not, or what opens or closes.
_STRUCTURE = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[][{}]', re.DOTALL)


class Records(NamedTuple):
    """Hold what a file of records says.

    Attributes:
        entries: One dictionary for each line that is a record.
        skipped: How many lines are none.
        problem: Why the file as a whole cannot be read, or ``None``.
        torn: Whether only the end of the last line is missing, as a kill
            leaves it (it counts among those skipped).
    """

    entries: list[dict[str, Any]]
    skipped: int
    problem: str | None
    torn: bool


def read_records(path: str | Path) -> Records:
    """Read a file of JSON objects, one a line, as far as it can be read.

    Args:
        path: The file; anything may be there.
    """
    entries: list[dict[str, Any]] = []
    skipped, last_bad, line = 0, False, b''
    try:
        for line in _lines(Path(path)):
            if not line.strip():
                continue
            entry = parse_json(line)
            last_bad = not isinstance(entry, dict)
            if last_bad:
                skipped += 1
            else:
                entries.append(entry)
    except OSError as error:
        return Records(entries, skipped, _word(error), torn=False)
    torn = last_bad and skipped == 1 and not line.endswith(b'\n')
    return Records(entries, skipped, None, torn)


def read_json(path: str | Path) -> tuple[Any, str | None]:
    """Read a small JSON file.

    Returns:
        The content, and why it cannot be read, or ``None``.
    """
    try:
        text = b''.join(_lines(Path(path)))
    except OSError as error:
        return None, _word(error)
    content = parse_json(text)
    return content, 'holds no JSON' if content is None else None


def read_name(path: str | Path) -> str | None:
    """Return the one line of a small file of text, ``None`` without."""
    try:
        text = next(_lines(Path(path)), b'').decode('utf-8').strip()
    except (OSError, UnicodeDecodeError):
        return None
    return text if text and text.isprintable() else None


def parse_json(text: bytes) -> Any:
    """Return what JSON says; ``None`` where it is none."""
    try:
        return None if _is_too_deep(text) else json.loads(text)
    # No text, no JSON, or a number of thousands of digits.
    except (ValueError, RecursionError):
        return None


def _is_too_deep(text: bytes) -> bool:
    """Say whether JSON is nested as no record of ours is.

    Python's reader may crash on what nests by the thousand.
    """
    if text.count(b'[') + text.count(b'{') <= _MOST_NESTED:
        return False
    depth = 0
    for token in _STRUCTURE.finditer(text):
        if token[0] in (b'[', b'{'):
            depth += 1
            if depth > _MOST_NESTED:
                return True
        elif token[0] in (b']', b'}'):
            depth -= 1
    return False


def set_aside(path: Path, stamp: str) -> Path:
    """Give a file, a folder or a link another name beside its own.

    Args:
        path: What is there.
        stamp: For its new name.

    Returns:
        Where it is now: nothing was there before.
    """
    stem, number = f'{path.stem}.before_{stamp}', 1
    target = path.with_name(f'{stem}{path.suffix}')
    while os.path.lexists(target):
        number += 1
        target = path.with_name(f'{stem}_{number}{path.suffix}')
    path.rename(target)
    return target


def replace_text(path: Path, text: str) -> None:
    """Write a file by way of a temporary one beside it.

    Args:
        path: The file to make or to replace; its folder must exist. A link
            is replaced, not followed; a folder is set aside.
        text: Its new content.
    """
    temporary = path.with_name(f'.{path.name}.tmp')
    make_room(temporary)
    with temporary.open('x', encoding='utf-8') as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    make_room(path, links=False)
    os.replace(temporary, path)


def make_room(path: Path, links: bool = True) -> None:
    """Remove what a kill has left under a temporary name.

    Args:
        path: Anything, or nothing, may be there. A folder is not ours, and
            is set aside.
        links: Whether files and links are to go; else only folders are.
    """
    if path.is_dir() and not path.is_symlink():
        aside = set_aside(path, 'folder')
        print_log(
            f'A folder was in the place of {path}: it is {aside.name} now.',
            logger='current',
        )
    elif links:
        path.unlink(missing_ok=True)


def _lines(path: Path) -> Iterator[bytes]:
    if not path.is_file():
        # A pipe would be waited for.
        raise FileNotFoundError(
            'is no file' if os.path.lexists(path) else 'is not there'
        )
    with path.open('rb') as file:
        while line := file.readline(_MOST_BYTES):
            yield line


def _word(error: OSError) -> str:
    return error.strerror or str(error)
