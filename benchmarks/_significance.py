"""Say how sure differences are: t tests of pairs, and of many of them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from _metrics import paired
from _spread import mean_and_deviation
from scipy.stats import ttest_1samp


def p_value(differences: Sequence[float]) -> float | None:
    """Return p of a two-sided t test that pairs differ by nothing.

    Args:
        differences: One for each pair.

    Returns:
        ``None`` for fewer than two pairs, or where all differ by the same.
    """
    if len(differences) < 2 or not statistics.stdev(differences):
        return None
    return float(ttest_1samp(differences, 0).pvalue)


def holm(values: Sequence[float]) -> list[float]:
    """Correct p values for their number, by the method of Holm (1979)."""
    ordered = sorted(range(len(values)), key=values.__getitem__)
    corrected = [0.0] * len(values)
    highest = 0.0
    for rank, index in enumerate(ordered):
        highest = max(highest, (len(values) - rank) * values[index])
        corrected[index] = min(1.0, highest)
    return corrected


def significance_table(
    values: Mapping[str, Mapping[int, float]],
    baseline: str,
    arms: Sequence[str],
) -> str:
    """Return p of each arm's difference to the baseline, smallest first.

    Args:
        values: Metric by arm and seed.
        baseline: One of the arms.
        arms: Which to compare with it; those without two pairs are left out,
            and not counted in the correction.
    """
    found: list[tuple[float, str, list[float]]] = []
    for arm in arms:
        if arm == baseline or arm not in values:
            continue
        differences = [*paired(values[arm], values[baseline]).values()]
        p = p_value(differences)
        if p is not None:
            found.append((p, arm, differences))
    found.sort()
    corrected = holm([p for p, *_ in found])
    rows = [
        f'| arm | against {baseline} | pairs | p | p, {len(found)} arms |',
        '|---|--:|--:|--:|--:|',
    ]
    for (p, arm, differences), of_all in zip(found, corrected, strict=True):
        rows.append(
            f'| {arm} | {mean_and_deviation(differences, sign="+")} | '
            f'{len(differences)} | {p:.2g} | {of_all:.2g} |'
        )
    return '\n'.join(rows)
