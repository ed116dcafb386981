"""Run the validation again that a break has cut off."""

from __future__ import annotations

from logging import Logger
from pathlib import Path
from typing import Any

from mmengine.dist import broadcast_object_list
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop

from mmtst.engine.side_files import read_records
from mmtst.engine.written_files import is_whole
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
        # Past the end nothing is left to do.
        due = loop.val_begin <= position <= end and (
            position % loop.val_interval == 0 or position == end
        )
        if not (self.enabled and due and position and runner.val_loop):
            return
        done = [_is_logged(Path(runner.work_dir), position, runner.logger)]
        broadcast_object_list(done)
        if done[0]:
            return
        runner.logger.info(
            'The validation at %s %d has not been logged: it is run now.',
            unit,
            position,
        )
        runner.val_loop.run()


def _is_logged(work_dir: Path, position: int, logger: Logger) -> bool:
    """Tell whether an earlier start has logged a validation there.

    Steps of the training are logged with their loss.
    """
    for log in work_dir.glob('*/vis_data/scalars.json'):
        records = read_records(log)
        if records.problem is not None:
            logger.warning('Left out %s: it %s.', log, records.problem)
        elif records.skipped and not records.torn:
            logger.warning(
                'Left out %d lines of %s that are no records.',
                records.skipped,
                log,
            )
        for entry in records.entries:
            step = entry.get('step')
            if is_whole(step) and step == position and 'loss' not in entry:
                return True
    return False
