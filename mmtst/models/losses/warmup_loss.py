"""Let the weight of a loss grow at the start of a training."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache, wraps
from typing import Any

from mmengine.logging import MessageHub, MMLogger, print_log
from torch import Tensor, nn

from mmtst.registry import MODELS
from mmtst.utils.checks import check_number
from mmtst.utils.errors import ConfigError


@MODELS.register_module()
class WarmupLoss(nn.Module):
    """Compute ``min(1, (t + 1) / length) * loss(...)``.

    The linear warm-up that DKD and ReviewKD were published with; t counts
    epochs or iterations from 0. Neither mmengine nor mmrazor has a hook for
    it. Where a training stands is what its ``MessageHub`` says: mmengine's
    ``RuntimeInfoHook`` sets it from the loop, so that a resumed training goes
    on with the weight it had, and nothing has to be saved. Where no training
    runs, the weight is full.

    The ``forward`` has the arguments of the loss within, and a distiller
    checks its mappings against them.

    Args:
        loss: Config of the loss.
        epochs: Length in epochs. An iteration-based loop counts as one epoch:
            give ``iters`` there.
        iters: Length in iterations. Give one of the two.

    Raises:
        ConfigError: Both lengths are given or none, or one is no count.

    Example:
        >>> import torch, mmtst
        >>> loss = WarmupLoss(dict(type='mmtst.MimicLoss'), epochs=4)
        >>> _ = MessageHub.get_instance('example')
        >>> MessageHub.get_current_instance().update_info('epoch', 0)
        >>> float(loss(torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)))
        0.25
    """

    def __init__(
        self,
        loss: dict[str, Any],
        epochs: int | None = None,
        iters: int | None = None,
    ) -> None:
        super().__init__()
        where = 'distill_losses.*'
        if (epochs is None) == (iters is None):
            raise ConfigError(
                'the length of a warm-up is given in epochs or in iterations',
                where=where,
                got=f'epochs={epochs}, iters={iters}',
                allowed='one of the two',
            )
        for name, length in dict(epochs=epochs, iters=iters).items():
            check_number(
                f'{where}.{name}', length, least=1, whole=True, optional=True
            )
        self.loss = MODELS.build_checked(loss, f'{where}.loss')
        self.epochs = epochs
        self.iters = iters

    @property
    def factor(self) -> float:
        """Return the weight of now, in (0, 1]."""
        hub = MessageHub.get_current_instance()
        if self.iters is not None:
            length, now = self.iters, hub.get_info('iter')
        else:
            length, now = self.epochs or 1, hub.get_info('epoch')
            end = hub.get_info('max_epochs')
            if now is not None and end is not None and end < length:
                run = MMLogger.get_current_instance().instance_name
                _say_too_long(run, length, end)
        return 1.0 if now is None else min(1.0, (now + 1) / length)

    # Not a method: its signature is that of the loss within, by which a
    # distiller finds wrong arguments and hands on the samples of a step.
    @property
    def forward(self) -> Callable[..., Tensor]:  # type: ignore[override]
        """Return a function that weights the loss."""

        @wraps(self.loss.forward)
        def weighted(*args: Any, **kwargs: Any) -> Tensor:
            value: Tensor = self.loss(*args, **kwargs)
            return self.factor * value

        return weighted


@cache
def _say_too_long(run: str, length: int, end: int) -> None:
    """Log, once for each run, that the full weight is never reached."""
    del run
    print_log(
        f'WarmupLoss: a warm-up of {length} epochs, but max_epochs is {end}: '
        'the weight stays below its full value. An iteration-based loop '
        'counts as one epoch: set iters there',
        'current',
        logging.WARNING,
    )
