"""Read off result lines what is compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from collect_runs import TASKS

Line = Mapping[str, Any]


def metric_of(lines: Sequence[Line]) -> tuple[str, str, float]:
    """Return the key, the title and the factor of the metric that decides.

    Raises:
        SystemExit: The lines are of several tasks.
    """
    tasks = {line['task'] for line in lines}
    if len(tasks) != 1:
        raise SystemExit(f'lines of different tasks: {sorted(tasks)}')
    metrics, factor = TASKS[tasks.pop()]
    name, title = next(iter(metrics.items()))
    return name.split('/')[-1], title, factor


def by_arm(lines: Sequence[Line]) -> dict[str, dict[int, float]]:
    """Return the metric of each arm and seed, in percent."""
    if not lines:
        return {}
    key, _, factor = metric_of(lines)
    values: dict[str, dict[int, float]] = {}
    for line in lines:
        values.setdefault(line['name'], {})[line['seed']] = factor * line[key]
    return values


def compared(matrix: Mapping[str, Any], lines: Sequence[Line]) -> list[Line]:
    """Return the lines of the arms: not the teacher's, nor of others."""
    return [line for line in lines if line['name'] in matrix['arms']]


def paired(
    values: Mapping[int, float], reference: Mapping[int, float]
) -> dict[int, float]:
    """Return the differences of two arms, by seed, where both have it."""
    return {
        seed: value - reference[seed]
        for seed, value in values.items()
        if seed in reference
    }
