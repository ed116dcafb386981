r"""Make tables and plots of the result lines that ``quality.py`` has kept.

    python benchmarks/report.py benchmarks/matrices/cifar20.yml \
        --plot docs/assets/results/cifar20.png --searches TST

The table has each arm's mean +- standard deviation over its seeds, their
number, the paper's figure where the matrix names one, and the difference to
the matrix' ``baseline``: paired by seed, the number of pairs and the smallest
difference that so many with that spread would find in four of five cases
(two-sided t test, 5 %), and the share of the training's time that went into
searching. Lines of different schedules are refused. ``--searches`` adds what
the searches of an arm found.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from _matrix import TEACHER, MatrixError, read_matrix
from _searches import findings_table, policy_table, share_of_time
from _spread import detectable, mean_and_deviation
from collect_runs import RESULTS, TASKS, read_lines
from matplotlib.figure import Figure

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


def compared(matrix: Mapping[str, Any], lines: Sequence[Line]) -> list[Line]:
    """Return the lines of the arms: not the teacher's, nor of others."""
    return [line for line in lines if line['name'] in matrix['arms']]


def table(
    matrix: Mapping[str, Any],
    lines: Sequence[Line],
    arms: Sequence[str] | None = None,
) -> str:
    """Return the Markdown table of a matrix.

    Args:
        matrix: Of ``read_matrix``.
        lines: Of its file.
        arms: Which to show; all if ``None``.

    Raises:
        SystemExit: There are no lines, or they do not belong into one table.
    """
    kept = compared(matrix, lines)
    if not kept:
        raise SystemExit(f'{matrix["name"]}: no lines yet')
    check_schedules(kept)
    _, title, _ = metric_of(kept)
    values = by_arm(kept)
    paper = matrix.get('paper', {})
    baseline = matrix.get('baseline')
    reference = values.get(baseline, {})
    heads = ['arm', 'seeds', title]
    heads += ['paper'] * bool(paper)
    if reference:
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
        if reference:
            row += _against(values[arm], reference, arm == baseline)
        own = [line for line in kept if line['name'] == arm]
        row.append(share_of_time(own, kept))
        rows.append('| ' + ' | '.join(row) + ' |')
    return '\n'.join(rows)


def _against(
    values: Mapping[int, float], reference: Mapping[int, float], same: bool
) -> list[str]:
    """Return the cells of the difference to the baseline."""
    differences = [
        values[seed] - reference[seed] for seed in values if seed in reference
    ]
    if same or not differences:
        return ['', '', '']
    mean = statistics.fmean(differences)
    pairs = str(len(differences))
    if len(differences) < 2:
        return [f'{mean:+.2f}', pairs, '']
    sd = statistics.stdev(differences)
    least = detectable(sd, len(differences), paired=True)
    return [f'{mean:+.2f} +- {sd:.2f}', pairs, f'{least:.2f}']


def versions(lines: Sequence[Line]) -> str:
    """Return the commits that lines were trained with, and how many each."""
    counts: dict[str, int] = {}
    for line in lines:
        name = ', '.join(line.get('commits', ())) or 'unknown'
        counts[name] = counts.get(name, 0) + 1
    return '; '.join(f'{name} ({n})' for name, n in counts.items())


def plot(
    matrix: Mapping[str, Any],
    lines: Sequence[Line],
    path: Path,
    arms: Sequence[str] | None = None,
) -> None:
    """Draw each arm's metric over the training: mean and range of seeds."""
    kept = compared(matrix, lines)
    _, title, factor = metric_of(kept)
    unit = 'epochs' if 'epochs' in kept[0] else 'iterations'
    figure = Figure(figsize=(7, 4.2), layout='constrained')
    axis = figure.add_subplot()
    pairs = mpl.colormaps['tab20'].colors  # type: ignore[attr-defined]
    colors = [*pairs[::2], *pairs[1::2]]
    there = {line['name'] for line in kept}
    shown = [a for a in arms or matrix['arms'] if a in there]
    for index, arm in enumerate(shown):
        curves: dict[int, list[float]] = {}
        for line in kept:
            for step, value in line['curve'] * (line['name'] == arm):
                curves.setdefault(step, []).append(factor * value)
        steps = sorted(curves)
        middle = [statistics.fmean(curves[step]) for step in steps]
        color = colors[index % len(colors)]
        axis.plot(steps, middle, color=color, label=arm, linewidth=1.5)
        axis.fill_between(
            steps,
            [min(curves[step]) for step in steps],
            [max(curves[step]) for step in steps],
            color=color,
            alpha=0.15,
            linewidth=0,
        )
    axis.set_xlabel(unit)
    axis.set_ylabel(title)
    axis.spines[['top', 'right']].set_visible(False)
    axis.legend(frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100, format='png')


def main() -> None:
    """Print the table, and draw the plot if it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('matrix', type=Path, help='YAML file')
    parser.add_argument('--results', type=Path, default=RESULTS)
    parser.add_argument('--arms', nargs='+', help='these alone')
    parser.add_argument('--baseline', help="not the matrix' own")
    parser.add_argument('--plot', type=Path, help='PNG file')
    parser.add_argument('--searches', metavar='ARM', help='what they found')
    args = parser.parse_args()
    try:
        matrix = read_matrix(args.matrix)
    except MatrixError as error:
        raise SystemExit(f'report: {error}') from error
    matrix['baseline'] = args.baseline or matrix.get('baseline')
    named = {*(args.arms or ()), *filter(None, [args.baseline])}
    if unknown := named - set(matrix['arms']):
        raise SystemExit(
            f'report: no such arms: {sorted(unknown)}; there are '
            f'{", ".join(matrix["arms"])}'
        )
    lines = read_lines(args.results / f'{matrix["name"]}.jsonl')
    print(table(matrix, lines, args.arms))
    print(f'\nTrained with: {versions(compared(matrix, lines))}')
    if args.searches:
        own = [line for line in lines if line['name'] == args.searches]
        print(f'\n{findings_table(own)}\n\n{policy_table(own)}')
    if args.plot:
        plot(matrix, lines, args.plot, args.arms)


if __name__ == '__main__':
    main()
