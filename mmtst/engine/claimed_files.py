"""Judge what a checkpoint says of other files, before anything is removed.

mmengine's message hub carries paths and numbers of checkpoints from start to
start, and its hook removes what they name. Here they are claims: one counts
only if it is of a file that the training has noted as its own.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmtst.engine.written_files import WrittenFiles, is_whole, name_some

_LISTS = ('keep_ckpt_ids', 'outdated_ckpt_ids')
_MOST_CLAIMS = 10_000


class Claims(NamedTuple):
    """Hold what a message hub says of checkpoints.

    Attributes:
        steps: By name, what are to be steps of checkpoints.
        best: By name, what are to be paths of the best ones.
        scores: By name, what are to be their scores.
    """

    steps: dict[str, Any]
    best: dict[str, Any]
    scores: dict[str, Any]


def take_claims(hub: dict[str, Any], resumed: dict[str, bool]) -> Claims:
    """Take all that is said of checkpoints out of a message hub.

    Args:
        hub: Its ``runtime_info``, changed in place.
        resumed: Its ``resumed_keys``, changed in place.
    """
    taken: dict[str, dict[str, Any]] = {'s': {}, 'best_ckpt': {}, 'score': {}}
    for key in list(hub):
        if key in _LISTS:
            taken['s'][key] = hub.pop(key)
        elif key == 'best_ckpt' or str(key).startswith('best_ckpt_'):
            taken['best_ckpt'][key] = hub.pop(key)
        elif key == 'best_score' or str(key).startswith('best_score_'):
            taken['score'][key] = hub.pop(key)
        elif key == 'last_ckpt':
            # Of the start before; each writes its own.
            del hub[key]
        if key not in hub:
            resumed.pop(key, None)
    return Claims(*taken.values())


def good_scores(claims: Claims) -> tuple[dict[str, Any], list[str]]:
    """Return the scores that are numbers, and in words those that are not."""
    good = {k: v for k, v in claims.scores.items() if _is_score(v)}
    bad = [
        f'{key}={value!r:.80} (no finite number)'
        for key, value in claims.scores.items()
        if key not in good
    ]
    return good, bad


def judge(
    claims: Claims,
    written: WrittenFiles,
    template: str,
    indicators: Sequence[str],
) -> tuple[dict[str, Any], list[str]]:
    """Say which claims count.

    Args:
        claims: What the checkpoint says.
        written: What this training has noted.
        template: Of the names of checkpoints, with ``{}`` for the step.
        indicators: The metrics that best ones are saved for.

    Returns:
        For the message hub, the paths and scores of best ones; and in words,
        what does not count though it may be there.
    """
    good, stay = good_scores(claims)
    for key, value in claims.best.items():
        name = os.path.basename(value) if isinstance(value, str) else ''
        named_so = _best_pattern(template, indicators).fullmatch(name)
        if named_so and written.owns(name):
            good[key] = os.path.join(str(written.folder), name)
        elif value is not None and not _is_gone(value):
            stay.append(f'{key}={value!r:.200}')
    for key, value in claims.steps.items():
        others = _not_ours(value, written, template)
        if others:
            stay.append(f'{key}: {name_some(others)}')
    return good, stay


def is_partial(name: str, template: str) -> bool:
    """Say whether a file is one that a killed save has left.

    Args:
        name: Of a file beside the checkpoints.
        template: Of the names of checkpoints, with ``{}`` for the step.
    """
    inner = name.removeprefix('.').removesuffix('.partial')
    return (
        name == f'.{inner}.partial'
        and re.fullmatch(f'(best_.+_)?{_steps(template)}', inner) is not None
    )


def _not_ours(value: Any, written: WrittenFiles, template: str) -> list[Any]:
    """Return the claimed steps that are none, or of files not ours."""
    if not isinstance(value, (list, tuple)):
        return [value]
    others: list[Any] = []
    for step in value[:_MOST_CLAIMS]:
        if not is_whole(step):
            others.append(step)
            continue
        name = template.format(step)
        if (written.folder / name).exists() and not written.owns(name):
            others.append(name)
    return others


def _is_gone(path: Any) -> bool:
    """Say whether a path names nothing (any more)."""
    try:
        return not Path(path).exists()
    except (OSError, TypeError, ValueError):
        return False


def _is_score(value: Any) -> bool:
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and math.isfinite(value)
    )


def _best_pattern(template: str, indicators: Sequence[str]) -> re.Pattern[str]:
    keys = [
        '.+' if key == 'auto' else re.escape(key.replace('/', '_'))
        for key in indicators
    ]
    return re.compile(f'best_({"|".join(keys)})_{_steps(template)}')


def _steps(template: str) -> str:
    return re.escape(template).replace(re.escape('{}'), r'\d+')
