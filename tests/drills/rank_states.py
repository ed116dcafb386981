"""Save what every rank holds at the end of a training; a custom import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class RankStatesHook(Hook):  # type: ignore[misc]
    """Write ``rank_N.pth``, the state dict of the bare model."""

    def after_train(self, runner: Any) -> None:
        """Write it."""
        state = runner.model.module.state_dict()
        torch.save(state, Path(runner.work_dir) / f'rank_{runner.rank}.pth')
