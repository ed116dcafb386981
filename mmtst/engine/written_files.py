"""Know which checkpoints in a folder a training has written itself.

What a checkpoint says of other files (the best one so far, those that are
one too many) is not enough to remove them: the checkpoint may come from
elsewhere, and the folder may hold files of others under the same names. So
each file is noted when it is written, by name, size and time of change, in
``.checkpoints.json`` beside it. A file that is not as noted is somebody
else's. Copied without its times (``cp -r``), it counts as such too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmtst.engine.side_files import read_json, replace_text

RECORD = '.checkpoints.json'
_VERSION = 1


class WrittenFiles:
    """Note the files that a training writes into a folder.

    The notes go on where a training is resumed from one of the files in
    them, and start anew otherwise.

    Args:
        folder: Of the checkpoints; need not exist.

    Attributes:
        kept: Steps of the checkpoints that are kept, oldest first, where
            only some are.
        outdated: Steps of those that are to be removed.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.kept: list[int] = []
        self.outdated: list[int] = []
        # By name: (size, time of change). Two where a file is written over.
        self._files: dict[str, list[tuple[int, int]]] = {}

    @property
    def path(self) -> Path:
        """Where the notes are."""
        return self.folder / RECORD

    def read(self, resumed_from: str | Path | None) -> str | None:
        """Take over what earlier starts of the same training have noted.

        Args:
            resumed_from: The checkpoint that this one goes on from, if any.

        Returns:
            Why nothing was taken over, where that is worth a line in a log.
        """
        self.kept, self.outdated, self._files = [], [], {}
        if resumed_from is None:
            return None
        source = Path(resumed_from)
        try:
            here = source.resolve().parent == self.folder.resolve()
        except (OSError, RuntimeError, ValueError):
            here = False
        if not here:
            return f'{source} lies in another folder'
        content, problem = read_json(self.path)
        if problem is not None:
            return f'{self.path.name} {problem}'
        self._parse(content)
        if not self.owns(source.name):
            self.kept, self.outdated, self._files = [], [], {}
            return f'{source.name} is not noted in {self.path.name}'
        return None

    def _parse(self, content: Any) -> None:
        if not isinstance(content, dict):
            return
        self.kept = _whole_numbers(content.get('kept'))
        self.outdated = _whole_numbers(content.get('outdated'))
        files = content.get('files')
        for name, stamps in files.items() if isinstance(files, dict) else ():
            good = [
                (stamp[0], stamp[1])
                for stamp in (stamps if isinstance(stamps, list) else ())
                if isinstance(stamp, list)
                and len(_whole_numbers(stamp)) == len(stamp) == 2
            ]
            if good and name == Path(name).name:
                self._files[name] = good

    def write(self) -> None:
        """Put the notes on the disk; OSError where that fails."""
        content = {
            'version': _VERSION,
            'kept': self.kept,
            'outdated': self.outdated,
            'files': self._files,
        }
        replace_text(self.path, json.dumps(content) + '\n')

    def note(self, written: Path, name: str) -> None:
        """Note a file that is about to get its name.

        Args:
            written: The whole file, still under another name.
            name: That it is given in this folder.
        """
        state = written.stat()
        before = self._files.get(name, [])[-1:]
        self._files[name] = [*before, (state.st_size, state.st_mtime_ns)]

    def owns(self, name: str) -> bool:
        """Say whether there is such a file, and it is the one noted."""
        try:
            path = self.folder / name
            if path.is_symlink() or not path.is_file():
                return False
            state = path.stat()
        except (OSError, ValueError):
            return False
        stamp = (state.st_size, state.st_mtime_ns)
        return stamp in self._files.get(name, ())

    def remove(self, name: str) -> bool:
        """Remove a file of this folder, if it is the one noted.

        Returns:
            Whether it was.
        """
        if not self.owns(name):
            return False
        (self.folder / name).unlink(missing_ok=True)
        self._files.pop(name, None)
        return True


def _whole_numbers(values: Any) -> list[int]:
    if not isinstance(values, list):
        return []
    return [each for each in values if is_whole(each)]


def is_whole(value: Any) -> bool:
    """Say whether a value is a whole number from 0 (``True`` is none)."""
    return (
        isinstance(value, int) and not isinstance(value, bool) and value >= 0
    )


def name_some(values: Iterable[Any], most: int = 5) -> str:
    """Name the first few of many values, each cut to one short line."""
    shown = [repr(value)[:120] for value in values]
    more = f' and {len(shown) - most} more' if len(shown) > most else ''
    return ', '.join(shown[:most]) + more
