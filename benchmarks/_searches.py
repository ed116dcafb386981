"""Say what the searches of a training cost, and what they found."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmtst.augmentation import MAGNITUDE_OPERATORS, OPERATORS

_DIGITS = 4
_FIGURES = ('objective', 'gap_rate', 'expected_operators')
Line = Mapping[str, Any]


def read_searches(work_dir: Path) -> list[dict[str, Any]]:
    """Read the reports that ``PolicySearchHook`` left, in their order.

    Returns:
        Of each search its ``iterations`` and ``seconds``; ``columns``, of
        the originals and of the policies before, searched and permuted, on
        the same batches of their own, some figures; ``prob`` and ``mag``,
        the policy found, by operator.
    """
    files = work_dir.glob('search_*.json')
    found = []
    for file in sorted(files, key=lambda file: int(file.stem.split('_')[1])):
        report = json.loads(file.read_text())
        found.append(
            dict(
                iterations=report['search']['iterations'],
                seconds=round(report['search']['seconds'], 1),
                columns={
                    name: {key: _rounded(column[key]) for key in _FIGURES}
                    for name, column in report['columns'].items()
                },
                **{
                    kind: {name: _rounded(x) for name, x in values.items()}
                    for kind, values in report['policy']['searched'].items()
                },
            )
        )
    return found


def share_of_time(lines: Sequence[Line]) -> str:
    """Return how much of the trainings' time went into searching."""
    searching = sum(
        search['seconds']
        for line in lines
        for search in line.get('searches', ())
    )
    whole = sum(line['seconds'] for line in lines)
    return f'{100 * searching / whole:.0f} %' if searching else ''


def findings_table(lines: Sequence[Line]) -> str:
    """Return what the searches of one arm found, search by search.

    Means and standard deviations over the seeds.

    Raises:
        SystemExit: None of them has searched.
    """
    searches = _by_search(lines)
    rows = [
        '| search | policy | objective | teacher right, student wrong '
        '| operators per image |',
        '|---|---|--:|--:|--:|',
    ]
    for index, found in enumerate(searches):
        for column in found[0]['columns']:
            cells = [
                mean_and_deviation(
                    [
                        value
                        for search in found
                        # Without positives there are no figures.
                        if (value := search['columns'][column][key])
                        is not None
                    ]
                )
                for key in _FIGURES
            ]
            rows.append(f'| {index + 1} | {column} | {" | ".join(cells)} |')
    return '\n'.join(rows)


def policy_table(lines: Sequence[Line]) -> str:
    """Return the policies that one arm's searches found, by operator.

    Raises:
        SystemExit: None of them has searched.
    """
    searches = _by_search(lines)
    heads = [
        f'{what} {index + 1}'
        for index in range(len(searches))
        for what in ('rate', 'magnitude')
    ]
    rows = [
        f'| operator | {" | ".join(heads)} |',
        '|---|' + '--:|' * len(heads),
    ]
    for name in OPERATORS:
        cells = []
        for found in searches:
            cells.append(mean_and_deviation([s['prob'][name] for s in found]))
            cells.append(
                mean_and_deviation([s['mag'][name] for s in found])
                if name in MAGNITUDE_OPERATORS
                else ''
            )
        rows.append(f'| {name} | {" | ".join(cells)} |')
    return '\n'.join(rows)


def mean_and_deviation(values: Sequence[float]) -> str:
    """Format a mean, with the standard deviation where there is one."""
    if not values:
        return ''
    text = f'{statistics.fmean(values):.2f}'
    if len(values) > 1:
        text += f' +- {statistics.stdev(values):.2f}'
    return text


def _by_search(lines: Sequence[Line]) -> list[list[Mapping[str, Any]]]:
    """Return first searches, second searches and so on, of all seeds."""
    searches = [line['searches'] for line in lines if line.get('searches')]
    if not searches:
        raise SystemExit('no line of this arm has a search')
    return [list(found) for found in zip(*searches, strict=True)]


def _rounded(value: float | None) -> float | None:
    # Figures that were not finite are null.
    return None if value is None else round(value, _DIGITS)
