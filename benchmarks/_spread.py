"""Say how far figures of several seeds spread, and what that lets one see."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from scipy.optimize import brentq
from scipy.stats import nct, t

POWER = 0.8
LEVEL = 0.05


def mean_and_deviation(
    values: Sequence[float], digits: int = 2, sign: str = '-'
) -> str:
    """Format a mean, with the standard deviation where there is one.

    Args:
        values: None of them make an empty text.
        digits: After the point.
        sign: ``+`` to write that of positive means too.
    """
    if not values:
        return ''
    text = f'{statistics.fmean(values):{sign}.{digits}f}'
    if len(values) > 1:
        text += f' +- {statistics.stdev(values):.{digits}f}'
    return text


def interval(values: Sequence[float]) -> float:
    """Return how far the 95 % interval of a mean goes to each side.

    By Student's t; 0 for a single value, which has none.
    """
    if len(values) < 2:
        return 0.0
    error = statistics.stdev(values) / math.sqrt(len(values))
    return float(t.ppf(1 - LEVEL / 2, len(values) - 1) * error)


def detectable(sd: float, seeds: int, paired: bool = False) -> float:
    """Return the smallest true difference of means that would be found.

    Args:
        sd: Standard deviation over seeds: of each arm, or of the
            differences where they are paired.
        seeds: Of each arm; at least 2.
        paired: Whether the same seeds are compared one by one.
    """
    freedom = seeds - 1 if paired else 2 * seeds - 2
    error = sd * math.sqrt(1 / seeds if paired else 2 / seeds)
    critical = t.ppf(1 - LEVEL / 2, freedom)

    def missed(shift: float) -> float:
        # The tail on the wrong side is nothing where most are found.
        return float(nct.cdf(critical, freedom, shift)) - (1 - POWER)

    high = 1.0
    while missed(high) > 0:
        high *= 1.5
    shift = brentq(missed, 0, high)
    return float(shift * error)
