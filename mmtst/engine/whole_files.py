"""Give files their names only when they are whole and on the disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mmtst.engine.side_files import make_room
from mmtst.engine.written_files import WrittenFiles

PARTIAL = '.{}.partial'


class RemovalsPutOff:
    """Stand in for a file backend, and remove nothing before it is told.

    Then only files that were noted when they were written; no folder.
    """

    def __init__(self, backend: Any, written: WrittenFiles) -> None:
        self._backend = backend
        self._written = written
        self._paths: list[Path] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def isdir(self, path: str) -> bool:
        """Know no folders, which would be removed."""
        return False

    def rmtree(self, path: str) -> None:
        """Remove no folder."""

    def remove(self, path: str) -> None:
        """Note a file."""
        self._paths.append(Path(path))

    def remove_now(self) -> None:
        """Remove what was noted, if it is there still."""
        for path in self._paths:
            if path.parent == self._written.folder:
                self._written.remove(path.name)


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk.

    Args:
        path: Of a file or folder that is there.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, text: str) -> None:
    """Write a small file so that it is whole whenever it is there.

    Args:
        path: Of the file; a link or folder in its place is not written to.
        text: Its content.
    """
    part = path.with_name(PARTIAL.format(path.name))
    make_room(part)
    part.write_text(text, encoding='utf-8')
    sync(part)
    make_room(path, links=False)
    os.replace(part, path)
    sync(path.parent)
