"""Run the validation again that a break has cut off."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmengine.dist import broadcast_object_list
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop

from mmtst.registry import HOOKS


@HOOKS.register_module()
class ValidateOnResumeHook(Hook):  # type: ignore[misc]
    """Validate where a resumed training stands, if that is still to be done.

    Checkpoints are saved before the validation of the same epoch or
    iteration. Where a training is stopped in between, mmengine goes on
    without it; and where that was the last one, it does nothing at all, and
    the result is lost. What has been logged below the work dir is not
    validated again.

    Args:
        enabled: ``False`` switches it off where a base config has it.
    """

    # After all others have made themselves ready.
    priority = 'LOWEST'

    def __init__(self, enabled: bool = True) -> None:
        self.enabled = enabled

    def before_train(self, runner: Any) -> None:
        """Validate, if it is due here and was not logged."""
        loop = runner.train_loop
        if isinstance(loop, EpochBasedTrainLoop):
            unit, position, end = 'epoch', runner.epoch, runner.max_epochs
        elif isinstance(loop, IterBasedTrainLoop):
            unit, position, end = 'iteration', runner.iter, runner.max_iters
        else:  # Loops of others have their own times.
            return
        due = position >= loop.val_begin and (
            position % loop.val_interval == 0 or position == end
        )
        if not (self.enabled and due and position and runner.val_loop):
            return
        done = [_is_logged(Path(runner.work_dir), position)]
        broadcast_object_list(done)
        if done[0]:
            return
        runner.logger.info(
            'The validation at %s %d has not been logged: it is run now.',
            unit,
            position,
        )
        runner.val_loop.run()


def _is_logged(work_dir: Path, position: int) -> bool:
    """Tell whether an earlier start has logged a validation there.

    Steps of the training are logged with their loss.
    """
    for log in work_dir.glob('*/vis_data/scalars.json'):
        for line in log.read_text(encoding='utf-8').splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:  # cut short by the break
                continue
            if entry.get('step') == position and 'loss' not in entry:
                return True
    return False
