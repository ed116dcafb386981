"""Find the checkpoints of a training: its newest, and its last."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from mmtst.utils.checkpoint import read_checkpoint
from mmtst.utils.errors import ConfigError

TEMPLATES = ('epoch_{}.pth', 'iter_{}.pth')


class Found(NamedTuple):
    """Name the checkpoint to resume from.

    Attributes:
        path: The newest that can be read; ``None`` where there is none.
        skipped: Newer ones, and why each cannot be read.
    """

    path: Path | None
    skipped: list[tuple[Path, str]]


def schedule_length(cfg: Any) -> dict[str, int]:
    """Return ``epochs`` or ``iterations`` of a training, as its loop counts.

    Args:
        cfg: The training's config.
    """
    epochs = cfg.train_cfg.get('max_epochs')
    if epochs is not None:
        return {'epochs': epochs}
    return {'iterations': cfg.train_cfg.max_iters}


def final_checkpoint(cfg: Any, work_dir: str | Path) -> Path:
    """Return where a training leaves its last checkpoint.

    Args:
        cfg: The training's config.
        work_dir: Of the training; need not exist.
    """
    ((unit, length),) = schedule_length(cfg).items()
    template = TEMPLATES[0 if unit == 'epochs' else 1]
    return Path(work_dir) / template.format(length)


def find_checkpoint(
    folder: str | Path, templates: tuple[str, ...] = TEMPLATES
) -> Found:
    """Find the newest whole checkpoint of a training.

    That is the one written last, whatever its number: a higher one may be
    left from an earlier run. A file counts as whole if it can be read and
    says where its training stood; ``last_checkpoint`` is not asked, since it
    may name one that was removed or cut short.

    Args:
        folder: Of the checkpoints; need not exist.
        templates: Of their names, with ``{}`` for the number.
    """
    patterns = [
        re.compile(re.escape(template).replace(re.escape('{}'), r'(\d+)'))
        for template in templates
    ]
    candidates = []
    for path in Path(folder).glob('*.pth'):
        for pattern in patterns:
            match = pattern.fullmatch(path.name)
            if match is not None:
                written = path.stat().st_mtime_ns
                candidates.append((written, int(match.group(1)), path))
    skipped: list[tuple[Path, str]] = []
    for _, _, path in sorted(candidates, reverse=True):
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
