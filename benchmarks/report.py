r"""Make tables and plots of the result lines that ``quality.py`` has kept.

    python benchmarks/report.py benchmarks/matrices/digits.yml \
        --baseline "augmentation off" unsearched \
        --differences digits.png --searches TST --p-values

The table has each arm's mean +- standard deviation over its seeds, their
number, the paper's figure where the matrix names one, the difference to the
matrix' ``baseline`` or those that are named, and the share of the training's
time that went into searching. Differences are paired by seed, and marked *
where a two-sided t test of the pairs tells them from nothing (5 %, not
corrected for the number of arms); beside each is the number of pairs and the
smallest difference that so many with that spread would find in four of five
cases. Lines of different schedules are refused. ``--p-values`` adds p of these
tests, also corrected for the number of arms; ``--searches`` what the searches
of an arm found, and how sure that is.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from _matrix import TEACHER, MatrixError, read_matrix
from _metrics import Line, by_arm, compared, metric_of, paired
from _plots import plot_curves, plot_differences
from _searches import (
    findings_table,
    policy_table,
    search_tests_table,
    share_of_time,
)
from _significance import significance_table
from _spread import detectable, interval, mean_and_deviation
from collect_runs import RESULTS, read_lines


def check_schedules(lines: Sequence[Line]) -> None:
    """Raise unless lines may stand in one table.

    Raises:
        SystemExit: Their schedules differ.
    """
    schedules: dict[str, str] = {}
    for line in lines:
        length = {k: line[k] for k in ('epochs', 'iterations') if k in line}
        shared = [length, line['schedule'], line['images']]
        schedule = json.dumps(shared, sort_keys=True)
        schedules.setdefault(schedule, line['name'])
    if len(schedules) > 1:
        names = ', '.join(schedules.values())
        raise SystemExit(f'different schedules: {names}: no table of them')


def table(
    matrix: Mapping[str, Any],
    lines: Sequence[Line],
    arms: Sequence[str] | None = None,
    baselines: Sequence[str] | None = None,
) -> str:
    """Return the Markdown table of a matrix.

    Args:
        matrix: Of ``read_matrix``.
        lines: Of its file.
        arms: Which to show; all if ``None``.
        baselines: What to compare them with; the matrix' own if ``None``.

    Raises:
        SystemExit: There are no lines, or they do not belong into one table;
            or none of an arm that is named to compare with.
    """
    kept = compared(matrix, lines)
    if not kept:
        raise SystemExit(f'{matrix["name"]}: no lines yet')
    check_schedules(kept)
    _, title, _ = metric_of(kept)
    values = by_arm(kept)
    paper = matrix.get('paper', {})
    references = {
        arm: values[arm] for arm in _baselines(matrix, values, baselines)
    }
    heads = ['arm', 'seeds', title]
    heads += ['paper'] * bool(paper)
    for baseline in references:
        heads += [f'against {baseline}', 'pairs', 'detectable']
    heads.append('searching')
    rows = [
        '| ' + ' | '.join(heads) + ' |',
        '|---|' + '--:|' * (len(heads) - 1),
    ]
    for name in (TEACHER, *matrix.get('teachers', ())):
        teacher = [line for line in lines if line['name'] == name]
        if not teacher:
            continue
        key, _, factor = metric_of(teacher)
        row = [name, '1', f'{factor * teacher[0][key]:.2f}']
        row += [str(paper.get(name, ''))] * bool(paper)
        row += [''] * (len(heads) - len(row))
        rows.append('| ' + ' | '.join(row) + ' |')
    for arm in matrix['arms'] if arms is None else arms:
        if arm not in values:
            continue
        row = [
            arm,
            str(len(values[arm])),
            mean_and_deviation([*values[arm].values()]),
        ]
        row += [str(paper.get(arm, ''))] * bool(paper)
        for baseline, reference in references.items():
            row += _against(values[arm], reference, arm == baseline)
        own = [line for line in kept if line['name'] == arm]
        row.append(share_of_time(own, kept))
        rows.append('| ' + ' | '.join(row) + ' |')
    return '\n'.join(rows)


def _baselines(
    matrix: Mapping[str, Any],
    values: Mapping[str, Any],
    named: Sequence[str] | None,
) -> list[str]:
    """Return the named arms, or the matrix' own if that has lines."""
    if missing := sorted(set(named or ()) - set(values)):
        raise SystemExit(f'{matrix["name"]}: no lines of {missing} yet')
    own = [matrix['baseline']] if 'baseline' in matrix else []
    return [arm for arm in (own if named is None else named) if arm in values]


def _against(
    values: Mapping[int, float], reference: Mapping[int, float], same: bool
) -> list[str]:
    """Return the cells of the difference to the baseline."""
    differences = [*paired(values, reference).values()]
    if same or not differences:
        return ['', '', '']
    text = mean_and_deviation(differences, sign='+')
    pairs = str(len(differences))
    if len(differences) < 2:
        return [text, pairs, '']
    sd = statistics.stdev(differences)
    least = detectable(sd, len(differences), paired=True)
    told = abs(statistics.fmean(differences)) > interval(differences)
    return [text + ' *' * told, pairs, f'{least:.2f}']


def versions(lines: Sequence[Line]) -> str:
    """Return the commits that lines were trained with, and how many each."""
    counts: dict[str, int] = {}
    for line in lines:
        name = ', '.join(line.get('commits', ())) or 'unknown'
        counts[name] = counts.get(name, 0) + 1
    return '; '.join(f'{name} ({n})' for name, n in counts.items())


def main() -> None:
    """Print the table, and draw the plot if it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('matrix', type=Path, help='YAML file')
    parser.add_argument('--results', type=Path, default=RESULTS)
    parser.add_argument('--arms', nargs='+', help='these alone')
    parser.add_argument(
        '--baseline',
        nargs='+',
        metavar='ARM',
        help="not the matrix' own; plots take the first",
    )
    parser.add_argument(
        '--p-values', action='store_true', help='of the differences'
    )
    parser.add_argument('--curves', type=Path, help='PNG file')
    parser.add_argument('--differences', type=Path, help='PNG file')
    parser.add_argument('--searches', metavar='ARM', help='what they found')
    args = parser.parse_args()
    try:
        matrix = read_matrix(args.matrix)
    except MatrixError as error:
        raise SystemExit(f'report: {error}') from error
    named = {*(args.arms or ()), *(args.baseline or ())}
    if unknown := named - set(matrix['arms']):
        raise SystemExit(
            f'report: no such arms: {sorted(unknown)}; there are '
            f'{", ".join(matrix["arms"])}'
        )
    lines = read_lines(args.results / f'{matrix["name"]}.jsonl')
    print(table(matrix, lines, args.arms, args.baseline))
    kept = compared(matrix, lines)
    print(f'\nTrained with: {versions(kept)}')
    if args.p_values:
        for baseline in _baselines(matrix, by_arm(kept), args.baseline):
            arms = args.arms or [*matrix['arms']]
            print(f'\n{significance_table(by_arm(kept), baseline, arms)}')
    if args.searches:
        own = [line for line in lines if line['name'] == args.searches]
        for part in (findings_table, search_tests_table, policy_table):
            print(f'\n{part(own)}')
    if args.curves:
        plot_curves(matrix, lines, args.curves, args.arms)
    if args.differences:
        if args.baseline:
            matrix['baseline'] = args.baseline[0]
        plot_differences(matrix, lines, args.differences, args.arms)


if __name__ == '__main__':
    main()
