"""Plot how the policy moved during the searches (the paper's Figures 2, 4)."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mmtst.augmentation.base import MAGNITUDE_OPERATORS, OPERATORS
from mmtst.utils.errors import ConfigError
from mmtst.utils.writing import writing

# The operators that the paper's Figure 2 shows.
SELECTED_OPERATORS = ('ShearX', 'ShearY', 'Posterize', 'Equalize', 'Cutout')

# Told apart by readers with any color vision (Okabe and Ito's set).
_COLORS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9')
_STYLES = ('-', '--', ':')
_START = 0.5
# More than any search makes; the sum of all fits 64 bits.
_MOST_STEPS = 2**40


@dataclass(frozen=True)
class PolicyCurves:
    """Hold the course of one run's policy.

    Attributes:
        label: Name of the run, for example the teacher-student pair.
        updates: (T,), updates of the policy made so far, over all searches.
        search_starts: Where in ``updates`` each search begins.
        probabilities: (T,) in [0, 1] for every operator.
        magnitudes: (T,) in [0, 1] for every operator that has one.
    """

    label: str
    updates: NDArray[np.int64]
    search_starts: tuple[int, ...]
    probabilities: dict[str, NDArray[np.float64]]
    magnitudes: dict[str, NDArray[np.float64]]


def policy_curves(
    entries: Sequence[Mapping[str, Any]], label: str
) -> PolicyCurves:
    """Gather the lines of a ``policy.jsonl`` into curves.

    Args:
        entries: The lines as dictionaries with ``search``, ``step``,
            ``prob`` and ``mag`` (or, as in exported policies,
            ``probabilities`` and ``magnitudes``), in the order of writing.
        label: Name of the run.

    Raises:
        ConfigError: There is no line, or one lacks an operator, or has
            something else in the place of a number.
    """
    if not entries:
        raise ConfigError(
            'the policy log has no lines: no search has run yet',
            where=label,
            fix='wait for the first search (`at` of PolicySearchHook)',
        )
    updates: list[int] = []
    starts: list[int] = []
    base, search = 0, None
    for number, entry in enumerate(entries, 1):
        for key in ('search', 'step'):
            value = entry.get(key)
            if type(value) is not int or not 0 <= value < _MOST_STEPS:
                raise _misfit(f'line {number}: no {key}', value, label)
        if entry['search'] != search:
            search = entry['search']
            base = updates[-1] if updates else 0
            starts.append(base)
        updates.append(base + entry['step'])
    return PolicyCurves(
        label,
        np.array(updates),
        tuple(starts),
        _gather(entries, ('prob', 'probabilities'), OPERATORS, label),
        _gather(entries, ('mag', 'magnitudes'), MAGNITUDE_OPERATORS, label),
    )


def plot_selected(
    curves: Sequence[PolicyCurves],
    path: str | Path,
    operators: Sequence[str] = SELECTED_OPERATORS,
) -> None:
    """Plot the probability and the magnitude of some operators (Figure 2).

    Args:
        curves: The runs, overlaid in every panel.
        path: The PNG to write.
        operators: Names of ``OPERATORS``; those without a magnitude have a
            panel for the probability alone.

    Raises:
        ConfigError: An operator is not known.
    """
    unknown = [name for name in operators if name not in OPERATORS]
    if unknown or not operators:
        raise ConfigError(
            'these operators cannot be plotted',
            where='operators',
            got=unknown or None,
            allowed=', '.join(OPERATORS),
        )
    panels = [('probability', name) for name in operators]
    panels += [
        ('magnitude', name)
        for name in operators
        if name in MAGNITUDE_OPERATORS
    ]
    _plot(curves, panels, path, columns=4)


def plot_all(curves: Sequence[PolicyCurves], path: str | Path) -> None:
    """Plot all 14 probabilities and 11 magnitudes (Figure 4).

    Args:
        curves: The runs, overlaid in every panel.
        path: The PNG to write.
    """
    panels = [('probability', name) for name in OPERATORS]
    panels += [('magnitude', name) for name in MAGNITUDE_OPERATORS]
    _plot(curves, panels, path, columns=5)


def _gather(
    entries: Sequence[Mapping[str, Any]],
    keys: tuple[str, str],
    names: Sequence[str],
    label: str,
) -> dict[str, NDArray[np.float64]]:
    rows = [entry.get(keys[0], entry.get(keys[1], {})) for entry in entries]
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping):
            raise _misfit(f'line {number}: no {keys[0]}', row, label)
        for name in names:
            value = row.get(name, 0.0)
            # A bool would be one, too; NaN lies in no range.
            if type(value) not in (int, float) or not 0 <= value <= 1:
                what = f'line {number}: {keys[0]} of {name}'
                raise _misfit(what, value, label)
    lost = sorted({name for row in rows for name in names if name not in row})
    if lost:
        raise ConfigError(
            f'lines of the policy log lack {keys[0]!r} of {", ".join(lost)}',
            where=label,
            fix='give the policy.jsonl that a search of this package wrote',
        )
    return {
        name: np.array([row[name] for row in rows], np.float64)
        for name in names
    }


def _misfit(what: str, value: object, label: str) -> ConfigError:
    return ConfigError(
        f'the policy log has something else in the place of a number: {what}',
        where=label,
        got=reprlib.repr(value),
        fix='give the policy.jsonl that a search of this package wrote',
    )


def _plot(
    curves: Sequence[PolicyCurves],
    panels: Sequence[tuple[str, str]],
    path: str | Path,
    columns: int,
) -> None:
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(2.5 * columns, 1.95 * rows), layout='constrained')
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True)
    axes: list[Axes] = list(np.atleast_1d(grid).ravel())
    for axis, (kind, name) in zip(axes, panels, strict=False):
        _panel(axis, curves, kind, name)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    figure.supxlabel('updates of the policy', fontsize=9)
    handles, labels = axes[0].get_legend_handles_labels()
    if len(curves) > 1:
        figure.legend(
            handles,
            labels,
            loc='outside upper center',
            ncols=min(len(curves), 4),
            frameon=False,
            fontsize=9,
        )
    else:
        figure.suptitle(curves[0].label, fontsize=10)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with writing(path):
        figure.savefig(path, dpi=100, format='png')


def _panel(
    axis: Axes, curves: Sequence[PolicyCurves], kind: str, name: str
) -> None:
    axis.axhline(_START, color='0.8', linewidth=0.8, zorder=0)
    for index, run in enumerate(curves):
        values = run.probabilities if kind == 'probability' else run.magnitudes
        color = _COLORS[index % len(_COLORS)]
        axis.plot(
            run.updates,
            values[name],
            color=color,
            linestyle=_STYLES[index // len(_COLORS) % len(_STYLES)],
            linewidth=1.5,
            label=run.label,
        )
        for start in run.search_starts[1:]:
            # Thin lines part the searches of each run.
            axis.axvline(
                start, color=color, linewidth=0.6, linestyle=':', alpha=0.7
            )
    axis.set_ylim(0, 1)
    axis.set_yticks([0, 0.5, 1])
    axis.set_title(f'{name}: {kind}', fontsize=9)
    axis.tick_params(labelsize=8)
    axis.spines[['top', 'right']].set_visible(False)
