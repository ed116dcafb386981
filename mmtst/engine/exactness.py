"""Refuse what keeps a resumed training from being the uninterrupted one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.hooks import CheckpointHook, EarlyStoppingHook
from mmengine.optim import OptimWrapperDict, ReduceOnPlateauParamScheduler
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop

from mmtst.utils.errors import ConfigError

OFF = (
    'or switch exact resume off: '
    'default_hooks = dict(exact_resume=dict(enabled=False))'
)


def check_loop(loop: Any) -> bool:
    """Return whether a loop counts epochs.

    Raises:
        ConfigError: It is no loop of mmengine's kinds.
    """
    for kind, epoch_based in (
        (EpochBasedTrainLoop, True),
        (IterBasedTrainLoop, False),
    ):
        if isinstance(loop, kind):
            return epoch_based
    raise ConfigError(
        'exact resume does not know this training loop',
        where='train_cfg.type',
        got=type(loop).__name__,
        allowed='EpochBasedTrainLoop, IterBasedTrainLoop and their subclasses',
        fix=OFF.removeprefix('or '),
    )


def check_checkpoints(runner: Any, epoch_based: bool) -> None:
    """Check that checkpoints come at the right times and hold all.

    Raises:
        ConfigError: They do not.
    """
    where = 'default_hooks.checkpoint'
    for hook in runner.hooks:
        if not isinstance(hook, CheckpointHook) or hook.interval <= 0:
            continue
        if epoch_based and not hook.by_epoch:
            raise ConfigError(
                'a checkpoint within an epoch cannot be resumed exactly: '
                'epoch-based loops resume where an epoch begins',
                where=f'{where}.by_epoch',
                got=False,
                allowed='True under an epoch-based train_cfg',
                fix='set by_epoch=True and count interval in epochs, '
                f'take an iteration-based train_cfg, {OFF}',
            )
        if hook.by_epoch and not epoch_based:
            raise ConfigError(
                'an iteration-based loop is one long epoch: nothing would be '
                'saved before its end',
                where=f'{where}.by_epoch',
                got=True,
                allowed='False under an iteration-based train_cfg',
                fix='set by_epoch=False and count interval in iterations, '
                f'{OFF}',
            )
        for option in ('save_optimizer', 'save_param_scheduler'):
            if not getattr(hook, option):
                raise ConfigError(
                    'checkpoints without it cannot be resumed exactly',
                    where=f'{where}.{option}',
                    got=False,
                    allowed='True',
                    fix=f'leave it out, {OFF}',
                )
        _check_gathering(runner, hook, epoch_based)


def check_schedulers(runner: Any) -> None:
    """Check that nothing follows validations, which are not run again.

    Raises:
        ConfigError: A scheduler or a hook does.
    """
    schedulers = runner.param_schedulers
    if isinstance(schedulers, dict):
        schedulers = [
            each for values in schedulers.values() for each in values
        ]
    followers = [
        ('param_scheduler', each)
        for each in schedulers or ()
        if isinstance(each, ReduceOnPlateauParamScheduler)
    ]
    followers += [
        ('custom_hooks', hook)
        for hook in runner.hooks
        if isinstance(hook, EarlyStoppingHook)
    ]
    for where, each in followers:
        raise ConfigError(
            'it follows validations, which come after the checkpoint and are '
            'not run again on resuming',
            where=where,
            got=type(each).__name__,
            fix=f'take a schedule that counts steps or epochs, {OFF}',
        )


def check_gathered(optim_wrapper: Any) -> None:
    """Check that no gradients are gathered when a checkpoint is written.

    Raises:
        ConfigError: Some are, and the checkpoint would lose them.
    """
    for wrapper in _wrappers(optim_wrapper):
        counts = wrapper._accumulative_counts
        done, end = wrapper._inner_count, wrapper._max_counts
        if done % counts and done != end:
            raise ConfigError(
                'a checkpoint falls between two optimizer steps, where the '
                'gradients gathered so far are lost',
                where='optim_wrapper.accumulative_counts',
                got=counts,
                allowed=f'a divisor of {done}, the steps so far',
                fix='change accumulative_counts, the batch size, or when '
                'checkpoints are written (interval, save_begin, and the '
                f'validation interval under save_best), {OFF}',
            )


def _check_gathering(
    runner: Any, hook: CheckpointHook, epoch_based: bool
) -> None:
    """Refuse at the start what ``check_gathered`` would meet later."""
    loader = runner.train_loop.dataloader
    steps = hook.interval * (len(loader) if epoch_based else 1)
    for wrapper in _wrappers(runner.optim_wrapper):
        counts = wrapper._accumulative_counts
        if steps % counts:
            raise ConfigError(
                'checkpoints would fall between two optimizer steps, where '
                'the gradients gathered so far are lost',
                where='optim_wrapper.accumulative_counts',
                got=counts,
                allowed=f'a divisor of {steps}, the steps from checkpoint to '
                'checkpoint',
                fix='change accumulative_counts, the batch size or '
                f'default_hooks.checkpoint.interval, {OFF}',
            )


def _wrappers(optim_wrapper: Any) -> Iterator[Any]:
    if isinstance(optim_wrapper, OptimWrapperDict):
        yield from optim_wrapper.values()
    else:
        yield optim_wrapper
