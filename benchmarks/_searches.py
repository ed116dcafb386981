"""Say what the searches of a training cost, and what they found."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from _significance import p_value
from _spread import mean_and_deviation
from collect_runs import UnreadableFile

from mmtst.augmentation import MAGNITUDE_OPERATORS, OPERATORS

_DIGITS = 4
_REPORT = re.compile(r'search_(\d{1,9})\.json')
_FOUND = 'searched'
_COMPARED = ('objective', 'gap_rate')
_FIGURES = {
    'objective': 'objective',
    'gap_rate': 'teacher right, student wrong',
    'teacher_right': 'teacher right',
    'student_wrong': 'student wrong',
    'expected_operators': 'operators per image',
}
Line = Mapping[str, Any]


def read_searches(work_dir: Path) -> list[dict[str, Any]]:
    """Read the reports that ``PolicySearchHook`` left, in their order.

    Returns:
        Of each search its ``iterations``, ``seconds`` and the gradient's
        ``signal_to_noise``, about 1 for noise alone; ``columns``, of the
        originals and of the policies before, searched and permuted, on
        the same training batches, some figures; ``prob`` and ``mag``,
        the policy found, by operator.

    Raises:
        UnreadableFile: One is no such report.
    """
    numbered = {
        int(match.group(1)): file
        for file in work_dir.glob('search_*.json')
        if (match := _REPORT.fullmatch(file.name))
    }
    return [_read_report(numbered[number]) for number in sorted(numbered)]


def _read_report(file: Path) -> dict[str, Any]:
    try:
        report = json.loads(file.read_bytes())
        return dict(
            iterations=report['search']['iterations'],
            seconds=round(report['search']['seconds'], 1),
            signal_to_noise=_rounded(
                report['search']['gradient_signal_to_noise']
            ),
            columns={
                name: {key: _rounded(column[key]) for key in _FIGURES}
                for name, column in report['columns'].items()
            },
            **{
                kind: {name: _rounded(x) for name, x in values.items()}
                for kind, values in report['policy']['searched'].items()
            },
        )
    except OSError as error:
        raise UnreadableFile(f'{file}: {error.strerror}') from error
    # No JSON, or another shape than PolicySearchHook writes.
    except (
        ValueError, KeyError, TypeError, AttributeError, RecursionError,
        OverflowError,
    ) as error:  # fmt: skip
        raise UnreadableFile(
            f'{file}: no report of a search '
            f'({type(error).__name__}: {error!s:.80})'
        ) from error


def share_of_time(lines: Sequence[Line], others: Sequence[Line]) -> str:
    """Return how much of the trainings' time went into searching.

    Args:
        lines: Of one arm.
        others: All of the matrix, with those that it has gone on from;
            nothing is returned where one of these is missing.
    """
    seconds = {
        (line['name'], line['seed']): line['seconds'] for line in others
    }
    if any(
        line.get('from') and (line['from'], line['seed']) not in seconds
        for line in lines
    ):
        return ''
    searching = whole = 0.0
    for line in lines:
        searching += sum(x['seconds'] for x in line.get('searches', ()))
        whole += line['seconds']
        if line.get('from'):
            length = line.get('epochs') or line['iterations']
            origin = seconds[line['from'], line['seed']]
            whole += line['fork'] / length * origin
    return f'{100 * searching / whole:.0f} %' if searching else ''


def findings_table(lines: Sequence[Line]) -> str:
    """Return what the searches of one arm found, search by search.

    Means and standard deviations over the seeds.

    Raises:
        SystemExit: None of them has searched.
    """
    searches = _by_search(lines)
    heads = [*_FIGURES.values(), "gradient's signal to noise"]
    rows = [
        f'| search | policy | {" | ".join(heads)} |',
        '|---|---|' + '--:|' * len(heads),
    ]
    for index, found in enumerate(searches):
        # Lines of earlier versions do not have it.
        signal = [search.get('signal_to_noise') for search in found]
        for column in found[0]['columns']:
            figures = [search['columns'][column] for search in found]
            cells = [_mean([x.get(key) for x in figures]) for key in _FIGURES]
            cells.append(_mean(signal) if column == _FOUND else '')
            rows.append(f'| {index + 1} | {column} | {" | ".join(cells)} |')
    return '\n'.join(rows)


def search_tests_table(lines: Sequence[Line]) -> str:
    """Return how the policies found differ from others, pair by pair.

    On the same training batches; p is of two-sided t tests of the pairs, not
    corrected for their number. Lower objectives are better, and higher rates.
    Where a search has no figure, cells are empty.

    Raises:
        SystemExit: None of them has searched.
    """
    heads = [x for key in _COMPARED for x in (_FIGURES[key], 'p')]
    rows = [
        f'| search | {_FOUND} against | pairs | {" | ".join(heads)} |',
        '|---|---|' + '--:|' * (len(heads) + 1),
    ]
    for index, found in enumerate(_by_search(lines)):
        for name in found[0]['columns']:
            if name == _FOUND:
                continue
            others = [search['columns'][name] for search in found]
            cells = []
            for key in _COMPARED:
                pairs = [
                    (search['columns'][_FOUND].get(key), column.get(key))
                    for search, column in zip(found, others, strict=True)
                ]
                # Without positives there are no figures.
                if any(None in pair for pair in pairs):
                    cells += ['', '']
                    continue
                differences = [ours - theirs for ours, theirs in pairs]
                p = p_value(differences)
                cells += [
                    mean_and_deviation(differences, digits=3, sign='+'),
                    '' if p is None else f'{p:.2g}',
                ]
            rows.append(
                f'| {index + 1} | {name} | {len(found)} | '
                f'{" | ".join(cells)} |'
            )
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


def _by_search(lines: Sequence[Line]) -> list[list[Mapping[str, Any]]]:
    """Return first searches, second searches and so on, of all seeds."""
    searches = [line['searches'] for line in lines if line.get('searches')]
    if not searches:
        raise SystemExit('no line of this arm has a search')
    return [list(found) for found in zip(*searches, strict=True)]


def _mean(values: Sequence[float | None]) -> str:
    # Without positives, or for figures that were not finite, there is none.
    return mean_and_deviation([x for x in values if x is not None])


def _rounded(value: float | None) -> float | None:
    # Figures that were not finite are null.
    return None if value is None else round(value, _DIGITS)
