"""Draw what a matrix of trainings has come to."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from _metrics import Line, by_arm, compared, metric_of, paired
from _spread import interval
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator


def plot_curves(
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
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_ylabel(title)
    axis.spines[['top', 'right']].set_visible(False)
    axis.legend(frameon=False, fontsize=8)
    _save(figure, path)


def plot_differences(
    matrix: Mapping[str, Any],
    lines: Sequence[Line],
    path: Path,
    arms: Sequence[str] | None = None,
) -> None:
    """Draw each arm's differences to the baseline: seeds, mean, interval.

    Raises:
        SystemExit: No other arm has a seed of the baseline.
    """
    kept = compared(matrix, lines)
    _, title, _ = metric_of(kept)
    values = by_arm(kept)
    baseline = matrix.get('baseline')
    reference = values.get(baseline, {})
    rows = {}
    for arm in arms or matrix['arms']:
        found = paired(values.get(arm, {}), reference)
        if found and arm != baseline:
            rows[arm] = [*found.values()]
    if not rows:
        raise SystemExit(f'no arm has a seed of the baseline "{baseline}"')
    figure = Figure(figsize=(7, 1 + 0.26 * len(rows)), layout='constrained')
    axis = figure.add_subplot()
    axis.axvline(0, color='0.7', linewidth=1)
    for index, found in enumerate(rows.values()):
        axis.scatter(found, [index] * len(found), color='0.6', s=12, zorder=2)
        axis.errorbar(
            statistics.fmean(found),
            index,
            xerr=interval(found),
            fmt='o',
            color='C0',
            markersize=5,
            zorder=3,
        )
    axis.set_yticks(range(len(rows)), rows)
    axis.invert_yaxis()
    axis.set_xlabel(f'{title} against {baseline}: seeds, mean, 95 % interval')
    axis.spines[['top', 'right']].set_visible(False)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100, format='png')
