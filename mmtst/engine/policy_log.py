"""Write the course of the policy as lines of JSON, and cut it on resume.

Each line of ``policy.jsonl`` is one object: ``search`` (index), ``step``
(updates made so far in this search), ``epoch`` and ``iter`` (the training's
position, 0-based: the search came before it), ``lr``, ``prob`` and ``mag``
(by operator, after the sigmoid), and, but for the last line of a search,
what was measured *at* that policy: ``objective``, ``parts``, ``grad_norm``
and more. The last line of a search has ``"final": true``.
"""

from __future__ import annotations

import json
import logging
import math
import os
from pathlib import Path
from typing import Any

from mmtst.augmentation.base import MAGNITUDE_OPERATORS, OPERATORS, Policy
from mmtst.engine.side_files import (
    Records,
    read_records,
    replace_text,
    set_aside,
)
from mmtst.engine.written_files import is_whole


def describe_policy(policy: Policy) -> dict[str, dict[str, float]]:
    """Return ``prob`` (14) and ``mag`` (11) by operator, in (0, 1)."""
    return {
        'prob': dict(
            zip(OPERATORS, policy.probabilities.tolist(), strict=True)
        ),
        'mag': dict(
            zip(MAGNITUDE_OPERATORS, policy.magnitudes.tolist(), strict=True)
        ),
    }


class PolicyLog:
    """Append lines to a file, each whole and at once.

    Args:
        path: The file; its folder must exist. ``None`` writes nothing (on
            all ranks but the first).
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def append(self, entry: dict[str, Any]) -> None:
        """Append one line. Numbers that are not finite become ``null``."""
        if self.path is None:
            return
        line = json.dumps(jsonable(entry), allow_nan=False)
        with self.path.open('a', encoding='utf-8') as file:
            file.write(line + '\n')


def read_policy_log(path: str | Path) -> list[dict[str, Any]]:
    """Read all whole lines of a log.

    A last line torn by a kill is left out, as is anything else that is not
    a JSON object.

    Args:
        path: The ``policy.jsonl`` of a run.

    Returns:
        The entries in the order of writing.

    Raises:
        OSError: There is no such file, or it cannot be read.
    """
    records = read_records(path)
    if records.problem is not None:
        raise OSError(f'{path} {records.problem}')
    return records.entries


def cut_policy_log(path: str | Path, iteration: int) -> int:
    """Cut a log back to where a training resumes.

    A search before iteration i belongs to what a resume at i does again, so
    only lines of searches before earlier iterations stay. The file is
    replaced whole: a kill leaves the old or the new one.

    Args:
        path: The ``policy.jsonl`` of the run; may be missing.
        iteration: The iteration (0-based) that is to be trained next.

    Returns:
        The number of entries removed.
    """
    path = Path(path)
    if not path.exists():
        return 0
    entries = read_policy_log(path)
    kept = _entries_before(entries, iteration)
    replace_text(path, _as_lines(kept))
    return len(entries) - len(kept)


def prepare_policy_log(
    path: Path, iteration: int, stamp: str, logger: logging.Logger
) -> None:
    """Make a log ready for a training that starts or resumes.

    On resume it is cut back; at a fresh start, what another run has left
    there is set aside under another name. So is what does not stay in it on
    resume, but for a last line that a kill has torn: where a training stands
    is what a checkpoint says. What cannot be read stops nothing.

    Args:
        path: The ``policy.jsonl`` of the run; anything may be there.
        iteration: The iteration (0-based) that is to be trained next.
        stamp: Of this start, for the name of what is set aside.
        logger: Hears of both.
    """
    if not os.path.lexists(path):
        return
    kept: list[dict[str, Any]] = []
    why = ''
    if iteration > 0:
        records = read_records(path)
        kept = _entries_before(records.entries, iteration)
        why = _why_not_whole(path, records, len(kept), iteration)
        if not why:
            if records.torn:
                replace_text(path, _as_lines(kept))
            return
    old = set_aside(path, stamp)
    if kept:
        replace_text(path, _as_lines(kept))
    logger.info('Set %s aside as %s%s.', path.name, old.name, why)


def _why_not_whole(
    path: Path, records: Records, kept: int, iteration: int
) -> str:
    """Say why a log cannot be written on as it is; empty where it can."""
    if records.problem is not None:
        return f': it {records.problem}'
    reasons = []
    if len(records.entries) > kept:
        removed = len(records.entries) - kept
        reasons.append(
            f'{removed} entries do not lie before iteration {iteration}'
        )
    if records.skipped and not records.torn:
        reasons.append(f'{records.skipped} lines are no records')
    if path.is_symlink():
        reasons.append('it is a link')
    return ': ' + ', '.join(reasons) if reasons else ''


def _entries_before(
    entries: list[dict[str, Any]], iteration: int
) -> list[dict[str, Any]]:
    """Return those of searches before earlier iterations."""
    kept = []
    for entry in entries:
        at = entry.get('iter', 0)
        if is_whole(at) and at < iteration:
            kept.append(entry)
    return kept


def _as_lines(entries: list[dict[str, Any]]) -> str:
    return ''.join(json.dumps(entry) + '\n' for entry in entries)


def jsonable(value: Any) -> Any:
    """Return a copy in which numbers that are not finite are ``None``."""
    if isinstance(value, dict):
        return {key: jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
