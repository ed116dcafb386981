"""Read losses off the device when they are logged, not in every step."""

from __future__ import annotations

import math
from typing import Any

import torch
from mmengine.hooks import LoggerHook, RuntimeInfoHook
from torch import Tensor

from mmtst.registry import HOOKS


@HOOKS.register_module()
class DeferredRuntimeInfoHook(RuntimeInfoHook):  # type: ignore[misc]
    """Tell the message hub of many steps at once.

    mmengine's own hook asks for the value of every loss after every step,
    and each time a GPU is waited for: more than a small network's step takes.
    This one keeps the tensors and reads them, all in one transfer, when a
    ``LoggerHook`` is about to write, a checkpoint is saved, or an epoch or
    the training ends. The message hub gets the same values in the same order.

    Meant for networks whose step takes milliseconds:
    ``default_hooks = dict(runtime_info=dict(
    type='mmtst.DeferredRuntimeInfoHook'))``.
    """

    def __init__(self) -> None:
        self._pending: list[dict[str, Any]] = []
        self._interval = 1

    def before_train(self, runner: Any) -> None:
        """Find out how often somebody wants to know."""
        super().before_train(runner)
        self._pending = []
        intervals = [
            hook.interval
            for hook in runner.hooks
            if isinstance(hook, LoggerHook)
        ]
        self._interval = max(math.gcd(*intervals), 1)

    def after_train_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Keep the outputs of a step, and read those kept where due."""
        if outputs is not None:
            self._pending.append(
                {
                    name: value.detach()
                    if isinstance(value, Tensor)
                    else value
                    for name, value in outputs.items()
                }
            )
        if self.every_n_inner_iters(
            batch_idx, self._interval
        ) or self.end_of_epoch(runner.train_dataloader, batch_idx):
            self._flush(runner)

    def before_save_checkpoint(
        self, runner: Any, checkpoint: dict[str, Any]
    ) -> None:
        """Put in what has been kept: the hub was copied without it."""
        if self._pending:
            self._flush(runner)
            hub = runner.message_hub.state_dict()
            checkpoint['message_hub']['log_scalars'] = hub['log_scalars']

    def before_val(self, runner: Any) -> None:
        """Read what is left."""
        self._flush(runner)
        super().before_val(runner)

    def after_train(self, runner: Any) -> None:
        """Read what is left."""
        self._flush(runner)

    def _flush(self, runner: Any) -> None:
        pending, self._pending = self._pending, []
        tensors = [
            # In their own type: not every device has double precision.
            (value if value.is_floating_point() else value.float()).mean()
            for outputs in pending
            for value in outputs.values()
            if isinstance(value, Tensor)
        ]
        values = iter(torch.stack(tensors).tolist() if tensors else ())
        for outputs in pending:
            for name, value in outputs.items():
                runner.message_hub.update_scalar(
                    f'train/{name}',
                    next(values) if isinstance(value, Tensor) else value,
                )
