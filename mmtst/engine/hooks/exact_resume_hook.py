"""Make a resumed training the uninterrupted one, bit for bit."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import get_rank
from mmengine.hooks import CheckpointHook, Hook
from mmengine.registry import DATA_SAMPLERS
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from torch.utils.data import BatchSampler, DataLoader, IterableDataset

from mmtst.engine.randomness import derive_seed, seed_all
from mmtst.engine.run_context import bare_model, common_seed
from mmtst.engine.seeded_samples import (
    SeededBatches,
    SkippingIterator,
    with_batches,
)
from mmtst.registry import HOOKS
from mmtst.utils.errors import ConfigError

_KEY = 'exact_resume'
_OFF = (
    'or switch exact resume off: '
    'default_hooks = dict(exact_resume=dict(enabled=False))'
)


@HOOKS.register_module()
class ExactResumeHook(Hook):  # type: ignore[misc]
    """Derive every random stream of a training from where it stands.

    Nothing random is carried from step to step, so nothing has to be saved:
    each sample's pipeline is seeded by (seed, rank, epoch, position), each
    step by (seed, rank, iteration), and the training's loader is rebuilt over
    such seeds. Iteration-based loops start their loader at the batch where
    the training stands; mmengine would load all past ones.

    Resumed from a checkpoint, student, policy, optimizer and schedulers go
    on as if there had been no break, bit for bit, on the same machine with
    the same number of processes and threads and deterministic algorithms. It
    makes no difference how many workers load. Epoch-based loops resume where
    an epoch begins.

    What it cannot derive: transforms that keep samples of earlier ones
    (mmdet's ``CachedMosaic`` and ``CachedMixUp``), data sets with random
    states of their own, schedulers that follow a validation metric.

    Args:
        enabled: ``False`` switches it off where a base config has it:
            ``default_hooks = dict(exact_resume=dict(enabled=False))``.

    Raises:
        ConfigError: At the start of the training, where the run has no seed,
            or something in its config cannot be resumed exactly.
    """

    # Before any hook that draws.
    priority = 'VERY_HIGH'

    def __init__(self, enabled: bool = True) -> None:
        self.enabled = enabled
        self._restored: dict[str, Any] = {}

    def before_train(self, runner: Any) -> None:
        """Check the config, and rebuild the loader over derived seeds."""
        if not self.enabled:
            return
        loop = runner.train_loop
        if runner.cfg.get('randomness', {}).get('seed') is None:
            raise ConfigError(
                'exact resume needs a seed',
                where='randomness.seed',
                fix=f'add randomness = dict(seed=0), {_OFF}',
            )
        epoch_based = _check_loop(loop)
        _check_checkpoints(runner, epoch_based)
        _check_accumulation(runner, loop, epoch_based)
        self._seed = common_seed(None, runner)
        sampler = _build_batch_sampler(runner, self._seed)
        if epoch_based:
            self._batches = SeededBatches(sampler, self._stream('sample'))
            loop.dataloader = with_batches(loop.dataloader, self._batches)
        else:
            _stop_workers(loop.dataloader_iterator)
            self._batches = SeededBatches(
                sampler,
                self._stream('sample'),
                endless=True,
                start=loop.iter,
            )
            loop.dataloader = with_batches(loop.dataloader, self._batches)
            loop.dataloader_iterator = SkippingIterator(
                loop.dataloader, loop.iter
            )
        self._restore_preprocessor(runner)

    def before_train_epoch(self, runner: Any) -> None:
        """Say which epoch's samples come next."""
        if self.enabled and not self._batches.endless:
            self._batches.epoch = runner.epoch

    def before_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Seed the step."""
        if not self.enabled:
            return
        seed_all(self._stream('step', runner.iter))
        generator = getattr(bare_model(runner), 'generator', None)
        if isinstance(generator, torch.Generator):
            generator.manual_seed(self._stream('views', runner.iter))

    def before_save_checkpoint(
        self, runner: Any, checkpoint: dict[str, Any]
    ) -> None:
        """Add what preprocessors keep from step to step."""
        if self.enabled:
            checkpoint[_KEY] = _plain_state(bare_model(runner))

    def after_load_checkpoint(
        self, runner: Any, checkpoint: dict[str, Any]
    ) -> None:
        """Remember what :meth:`before_save_checkpoint` has added."""
        self._restored = dict(checkpoint.get(_KEY) or {})

    def _restore_preprocessor(self, runner: Any) -> None:
        # A checkpoint that is only loaded from starts a training anew.
        if runner.iter == 0:
            return
        model = bare_model(runner)
        modules = dict(model.data_preprocessor.named_modules())
        for path, value in self._restored.items():
            name, _, attribute = path.rpartition('.')
            if attribute in vars(modules.get(name, object)):
                setattr(modules[name], attribute, value)

    def _stream(self, *parts: int | str) -> int:
        return derive_seed(self._seed, *parts, get_rank())


def _check_loop(loop: Any) -> bool:
    """Return whether a loop counts epochs; refuse what is no loop we know."""
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
        fix=_OFF.removeprefix('or '),
    )


def _check_checkpoints(runner: Any, epoch_based: bool) -> None:
    """Refuse checkpoints within an epoch of an epoch-based loop."""
    within = [
        hook
        for hook in runner.hooks
        if isinstance(hook, CheckpointHook)
        and not hook.by_epoch
        and hook.interval > 0
    ]
    if epoch_based and within:
        raise ConfigError(
            'a checkpoint within an epoch cannot be resumed exactly: '
            'epoch-based loops resume where an epoch begins',
            where='default_hooks.checkpoint.by_epoch',
            got=False,
            allowed='True under an epoch-based train_cfg',
            fix='set by_epoch=True and count interval in epochs, '
            f'take an iteration-based train_cfg, {_OFF}',
        )


def _check_accumulation(runner: Any, loop: Any, epoch_based: bool) -> None:
    """Refuse checkpoints that would fall between two optimizer steps."""
    counts = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
    for hook in runner.hooks:
        if counts == 1 or not isinstance(hook, CheckpointHook):
            continue
        steps = hook.interval * (len(loop.dataloader) if epoch_based else 1)
        if hook.interval > 0 and steps % counts:
            raise ConfigError(
                'checkpoints would fall between two optimizer steps, where '
                'the gradients gathered so far are lost',
                where='optim_wrapper.accumulative_counts',
                got=counts,
                allowed=f'a divisor of {steps}, the steps from checkpoint to '
                'checkpoint',
                fix='change accumulative_counts, the batch size or '
                'default_hooks.checkpoint.interval, ' + _OFF,
            )


def _build_batch_sampler(runner: Any, seed: int) -> Any:
    """Build sampler and batch sampler anew, as mmengine does, from a seed.

    The loop's own have been read from already by workers that load ahead.
    """
    cfg = runner.cfg.get('train_dataloader')
    where = 'train_dataloader'
    loader: DataLoader[Any] = runner.train_loop.dataloader
    if not isinstance(cfg, dict) or not isinstance(cfg.get('sampler'), dict):
        raise ConfigError(
            'exact resume builds the sampler itself, and needs its config',
            where=f'{where}.sampler',
            got=type(cfg).__name__,
            allowed='a config, such as dict(type="DefaultSampler")',
            fix=_OFF.removeprefix('or '),
        )
    if isinstance(loader.dataset, IterableDataset):
        raise ConfigError(
            'exact resume needs a data set that can be indexed',
            where=f'{where}.dataset',
            got=type(loader.dataset).__name__,
            fix=_OFF.removeprefix('or '),
        )
    sampler = DATA_SAMPLERS.build(
        dict(cfg['sampler']),
        default_args=dict(dataset=loader.dataset, seed=seed),
    )
    batch_sampler = cfg.get('batch_sampler')
    if batch_sampler is not None:
        return DATA_SAMPLERS.build(
            dict(batch_sampler),
            default_args=dict(sampler=sampler, batch_size=cfg['batch_size']),
        )
    return BatchSampler(
        sampler, cfg['batch_size'], cfg.get('drop_last', False)
    )


def _stop_workers(iterator: Any) -> None:
    """Stop the workers that mmengine's loop has started already."""
    stop = getattr(
        getattr(iterator, '_iterator', None), '_shutdown_workers', None
    )
    if stop is not None:
        stop()


def _plain_state(model: Any) -> dict[str, Any]:
    """Return the numbers that preprocessors keep outside of their buffers.

    mmdet's ``BatchSyncRandomResize``, for instance, draws a size every few
    iterations and holds it in between.
    """
    state = {}
    for name, module in model.data_preprocessor.named_modules():
        inherited = vars(torch.nn.Module())
        for attribute, value in vars(module).items():
            if attribute not in inherited and _is_plain(value):
                state[f'{name}.{attribute}'] = value
    return state


def _is_plain(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return all(_is_plain(each) for each in value)
    return value is None or isinstance(value, (int, float, str))
