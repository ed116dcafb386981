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
    """
    entries = []
    for line in Path(path).read_text(encoding='utf-8').splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(entry, dict):
            entries.append(entry)
    return entries


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
    kept = [entry for entry in entries if entry.get('iter', 0) < iteration]
    text = ''.join(json.dumps(entry) + '\n' for entry in kept)
    replace_text(path, text)
    return len(entries) - len(kept)


def prepare_policy_log(
    path: Path, iteration: int, stamp: str, logger: logging.Logger
) -> None:
    """Make a log ready for a training that starts or resumes.

    On resume it is cut back; at a fresh start, what another run has left
    there is set aside under another name.

    Args:
        path: The ``policy.jsonl`` of the run; may be missing.
        iteration: The iteration (0-based) that is to be trained next.
        stamp: Of this start, for the name of what is set aside.
        logger: Hears of both.
    """
    if iteration > 0:
        removed = cut_policy_log(path, iteration)
        if removed:
            logger.info(
                'Cut %d entries that lie past iteration %d off %s.',
                removed,
                iteration,
                path.name,
            )
    elif path.exists():
        old = path.with_name(f'{path.stem}.before_{stamp}{path.suffix}')
        path.rename(old)
        logger.info('Set %s aside as %s.', path.name, old.name)


def replace_text(path: Path, text: str) -> None:
    """Write a file by way of a temporary one beside it.

    Args:
        path: The file to make or to replace; its folder must exist.
        text: Its new content.
    """
    temporary = path.with_name(f'.{path.name}.tmp')
    with temporary.open('w', encoding='utf-8') as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def jsonable(value: Any) -> Any:
    """Return a copy in which numbers that are not finite are ``None``."""
    if isinstance(value, dict):
        return {key: jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
