"""Check the options of a search, and what has come of it."""

from __future__ import annotations

from collections.abc import Mapping
from logging import Logger
from types import MappingProxyType

from mmtst.engine.search_schedule import WHERE
from mmtst.engine.search_types import SearchSummary
from mmtst.utils.checks import Bounds, check_number
from mmtst.utils.errors import ConfigError

SMALLEST_MOVE = 0.05
ALRS = MappingProxyType({'threshold': 0.02, 'factor': 0.9})
BOUNDS = {
    'lr': Bounds(above=0, optional=True),
    'momentum': Bounds(least=0, below=1),
    'clip_grad': Bounds(above=0, optional=True),
    'search_temperature': Bounds(above=0, optional=True),
    'budget': Bounds(above=0, below=1, optional=True, word='hold'),
    'batch_size': Bounds(least=1, whole=True, optional=True),
    'report_batches': Bounds(least=0, whole=True),
    'max_nonfinite': Bounds(least=1, whole=True),
    'log_interval': Bounds(least=1, whole=True),
    'seed': Bounds(least=0, whole=True, optional=True),
}


def checked_alrs(
    alrs: Mapping[str, float] | None,
) -> tuple[float, float] | None:
    """Return (threshold, factor) of the rule between epochs of a search.

    Raises:
        ConfigError: Other options, or one out of range.
    """
    if alrs is None:
        return None
    if not isinstance(alrs, Mapping) or set(alrs) != set(ALRS):
        raise ConfigError(
            'alrs has two options, threshold and factor',
            where=f'{WHERE}.alrs',
            got=alrs,
            allowed='dict(threshold=..., factor=...) or None',
        )
    check_number(f'{WHERE}.alrs.threshold', alrs['threshold'], least=0)
    check_number(f'{WHERE}.alrs.factor', alrs['factor'], above=0, below=1)
    return float(alrs['threshold']), float(alrs['factor'])


def warn_of_stillness(logger: Logger, summary: SearchSummary) -> None:
    """Warn of a search that changed next to nothing."""
    if summary.updates == 0:
        logger.warning(
            'The policy search made no update in %d steps: %d had no image '
            'with an object left, %d were not finite, %d overflowed.',
            summary.iterations,
            summary.empty,
            summary.nonfinite,
            summary.overflows,
        )
    elif summary.largest_move < SMALLEST_MOVE:
        logger.warning(
            'No rate moved by %.2f in this policy search (the largest by '
            '%.3f): it hardly decides anything. Search for longer '
            '(PolicySearchHook.iterations, now %d) or raise its lr (%.4g '
            'at the end).',
            SMALLEST_MOVE,
            summary.largest_move,
            summary.iterations,
            summary.lr,
        )
