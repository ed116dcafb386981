"""Let errors of writing name the file that could not be written."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Name a file in the errors of what writes it.

    Python leaves the name out where the disk is full, and torch's writer
    raises a ``RuntimeError`` of its own.

    Args:
        path: The file that is written within.

    Raises:
        OSError: It could not be written; with its name.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise
    except RuntimeError as error:
        own = ('inline_container', 'Parent directory')
        if not any(words in str(error) for words in own):
            raise
        raise OSError(
            errno.EIO,
            'the file could not be written: no room, or no right to write '
            'there',
            str(path),
        ) from error
