"""Decide when a policy is searched, for how long and at what rate."""

from __future__ import annotations

from collections.abc import Sequence

from mmtst.utils.checks import check_number
from mmtst.utils.errors import ConfigError

# What lr x steps comes to in the paper's CIFAR-100 search: 0.01 x 390.
REACH = 3.9
LARGEST_LR = 0.1
FEWEST_STEPS = 100
WHERE = 'PolicySearchHook'


class SearchSchedule:
    """Hold the times of all searches, and the length of each.

    Args:
        at: Epochs or iterations (0-based) before which to search.
        by_epoch: Whether ``at`` counts epochs.
        epochs: Length in passes over the data, or ``None``.
        iterations: Length in steps, or ``None``. With neither: one pass, but
            at least 100 steps.

    Raises:
        ConfigError: If one of them cannot be used.
    """

    def __init__(
        self,
        at: Sequence[int],
        by_epoch: bool,
        epochs: int | None,
        iterations: int | None,
    ) -> None:
        unit = 'epochs' if by_epoch else 'iterations'
        if isinstance(at, str) or not isinstance(at, Sequence):
            raise ConfigError(
                'The times of the policy searches must be a list',
                where=f'{WHERE}.at',
                got=at,
                allowed=f'{unit} (0-based), such as [6, 12]',
            )
        for time in at:
            check_number(f'{WHERE}.at', time, least=0, whole=True)
        if len(set(at)) < len(at):
            raise ConfigError(
                'Two policy searches stand at the same time',
                where=f'{WHERE}.at',
                got=list(at),
                allowed=f'different {unit}',
            )
        if not isinstance(by_epoch, bool):
            raise ConfigError(
                'by_epoch must be True or False',
                where=f'{WHERE}.by_epoch',
                got=by_epoch,
            )
        if epochs is not None and iterations is not None:
            raise ConfigError(
                'The length of a search is given twice',
                where=f'{WHERE}.epochs and .iterations',
                got=(epochs, iterations),
                allowed='one of them, or neither',
                fix='leave one out',
            )
        for name, value in (('epochs', epochs), ('iterations', iterations)):
            check_number(
                f'{WHERE}.{name}', value, least=1, whole=True, optional=True
            )
        self.at = sorted(at)
        self.by_epoch = by_epoch
        self.epochs = epochs
        self.iterations = iterations

    def check_loop(
        self, *, epoch_based: bool, max_epochs: int, max_iters: int
    ) -> None:
        """Check the times against the training loop.

        Args:
            epoch_based: Whether the loop has epochs.
            max_epochs: Its length, if so.
            max_iters: Its length in iterations.

        Raises:
            ConfigError: If the loop has no epochs, or ends too early.
        """
        if self.by_epoch and not epoch_based:
            raise ConfigError(
                'An iteration-based training has no epochs to search before',
                where=f'{WHERE}.by_epoch',
                got=True,
                allowed='False under an iteration-based train_cfg',
                fix='set by_epoch=False and give `at` in iterations',
            )
        unit = 'epochs' if self.by_epoch else 'iters'
        end = max_epochs if self.by_epoch else max_iters
        late = [time for time in self.at if time >= end]
        if late:
            raise ConfigError(
                f'A policy search stands past the end of the training, '
                f'max_{unit}={end}',
                where=f'{WHERE}.at',
                got=late,
                allowed=f'0 to {end - 1}: searches come before the training '
                'of that number, counted from 0',
                fix=f'move or leave out the search, or raise '
                f'train_cfg.max_{unit}',
            )

    def index(self, position: int) -> int | None:
        """Return which search comes before a position, if any."""
        return self.at.index(position) if position in self.at else None

    def steps(self, per_epoch: int) -> int:
        """Return the length of each search in steps.

        Args:
            per_epoch: Steps that pass over the data once.
        """
        if self.iterations is not None:
            return self.iterations
        if self.epochs is not None:
            return self.epochs * per_epoch
        return max(per_epoch, FEWEST_STEPS)


def portable_lr(steps: int) -> float:
    """Return the learning rate that moves a policy as far as the paper's.

    The way of a policy grows with lr x steps; the paper's CIFAR-100 search
    has 3.9.

    Args:
        steps: Length of the search.

    Returns:
        3.9 / ``steps``, at most 0.1.

    Example:
        >>> portable_lr(390)
        0.01
    """
    return min(LARGEST_LR, REACH / steps)
