"""Find the checkpoints of a training: its newest, and its last."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.dist import broadcast_object_list, is_main_process

from mmtst.engine.side_files import read_name
from mmtst.engine.written_files import is_whole
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
    skipped: list[tuple[Path, str]] = []
    for path in Path(folder).glob('*.pth'):
        for pattern in patterns:
            match = pattern.fullmatch(path.name)
            if match is None:
                continue
            try:
                written = path.stat().st_mtime_ns
            except OSError as error:  # a link to nowhere
                skipped.append((path, error.strerror or str(error)))
                continue
            candidates.append((written, int(match.group(1)), path))
    for _, _, path in sorted(candidates, reverse=True):
        try:
            content = read_checkpoint(path, where='--resume')
        except ConfigError as error:
            skipped.append((path, str(error).splitlines()[0]))
            continue
        if not says_where(content):
            reason = 'it does not say at which iteration it was saved'
            skipped.append((path, reason))
            continue
        return Found(path, skipped)
    return Found(None, skipped)


def says_where(content: Any) -> bool:
    """Say whether a checkpoint tells where its training stood."""
    meta = content.get('meta')
    return isinstance(meta, dict) and all(
        is_whole(meta.get(key)) for key in ('epoch', 'iter')
    )


def no_whole_checkpoint(
    found: Found, folder: str | Path, where: str
) -> ConfigError:
    """Return the error where there are checkpoints, but none is whole.

    Args:
        found: What was looked at.
        folder: Where.
        where: The option that asked for it.
    """
    return ConfigError(
        'there are checkpoints to resume from, but none can be read: '
        + '; '.join(f'{p}: {reason}' for p, reason in found.skipped),
        where=where,
        got=str(folder),
        fix='mend them, or move them away to start anew: without '
        '--resume the training would overwrite them',
    )


def checkpoint_folder(work_dir: str, out_dir: str | Path | None) -> Path:
    """Return where checkpoints are saved, as mmengine has it.

    Args:
        work_dir: Of the training.
        out_dir: Option of the hook that saves.
    """
    if out_dir is None or str(out_dir) == work_dir:
        return Path(work_dir)
    return Path(out_dir, Path(work_dir).name)


def use_latest_checkpoint(runner: Any, folder: Path, template: str) -> None:
    """Resume from the newest checkpoint where none is named.

    mmengine goes on from what ``last_checkpoint`` in the work dir names.
    Where that names none, the folder itself is looked at.

    Args:
        runner: Of the training; told what to resume from.
        folder: Of the checkpoints.
        template: Of their names, with ``{}`` for the number.

    Raises:
        ConfigError: There are checkpoints, but none can be read.
    """
    pointer = Path(runner.work_dir, 'last_checkpoint')
    answer: list[Any] = [None]
    if is_main_process():
        named = read_name(pointer)
        if named is not None and Path(named).is_file():
            answer = [(named, [])]
        else:
            found = find_checkpoint(folder, (template,))
            answer = [(found.path and str(found.path), found.skipped)]
            if pointer.exists():
                runner.logger.warning(
                    'last_checkpoint names no file that is there; the newest '
                    'of %s is taken.',
                    folder,
                )
    broadcast_object_list(answer)
    path, skipped = answer[0]
    for left_out, reason in skipped:
        runner.logger.warning('Left out %s: %s', left_out, reason)
    if path is None and skipped:
        raise no_whole_checkpoint(Found(None, skipped), folder, 'resume')
    runner._load_from = path
    if path is None:
        runner._resume = False
        runner.logger.info(
            '%s has no checkpoint to go on from: the training starts at its '
            'beginning.',
            folder,
        )
