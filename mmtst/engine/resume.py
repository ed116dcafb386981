"""Find the checkpoint that a stopped training goes on from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from mmtst.utils.checkpoint import read_checkpoint
from mmtst.utils.errors import ConfigError

_NAME = re.compile(r'(?:epoch|iter)_(\d+)\.pth')


class Found(NamedTuple):
    """Name the checkpoint to resume from.

    Attributes:
        path: The newest that can be read; ``None`` where there is none.
        skipped: Newer ones, and why each cannot be read.
    """

    path: Path | None
    skipped: list[tuple[Path, str]]


def find_checkpoint(work_dir: str | Path) -> Found:
    """Find the newest whole checkpoint of a training.

    Looks at the files themselves, not at ``last_checkpoint``, which may name
    one that was removed or cut short. A file counts as whole if it can be
    read and says where its training stood.

    Args:
        work_dir: Folder of the checkpoints; need not exist.
    """
    numbered = [
        (int(match.group(1)), path.stat().st_mtime, path)
        for path in Path(work_dir).glob('*.pth')
        if (match := _NAME.fullmatch(path.name))
    ]
    skipped: list[tuple[Path, str]] = []
    for _, _, path in sorted(numbered, reverse=True):
        try:
            content = read_checkpoint(path, where='--resume')
        except ConfigError as error:
            skipped.append((path, str(error).splitlines()[0]))
            continue
        meta = content.get('meta')
        if not isinstance(meta, dict) or not {'epoch', 'iter'} <= set(meta):
            reason = 'it does not say at which iteration it was saved'
            skipped.append((path, reason))
            continue
        return Found(path, skipped)
    return Found(None, skipped)
