"""Make a resumed training the uninterrupted one, bit for bit."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import all_reduce_params, get_rank
from mmengine.hooks import CheckpointHook, Hook
from mmengine.registry import DATA_SAMPLERS
from mmengine.runner import BaseLoop
from torch.utils.data import BatchSampler, DataLoader, IterableDataset

from mmtst.engine.claimed_files import good_scores, take_claims
from mmtst.engine.exactness import (
    OFF,
    check_checkpoints,
    check_gathered,
    check_loop,
    check_schedulers,
)
from mmtst.engine.hooks.safe_checkpoint_hook import SafeCheckpointHook
from mmtst.engine.randomness import derive_seed, seed_all
from mmtst.engine.resume_checks import (
    check_kept,
    check_loadable,
    check_resumable,
    is_beyond_end,
)
from mmtst.engine.run_context import bare_model, common_seed
from mmtst.engine.seeded_samples import (
    SeededBatches,
    SkippingIterator,
    with_batches,
)
from mmtst.models.utils import updates_statistics
from mmtst.registry import HOOKS
from mmtst.utils.errors import ConfigError

_KEY = 'exact_resume'


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

    Several processes average the student's running statistics where a
    checkpoint is due, since it holds those of the first process only.

    What it cannot derive: transforms that keep samples of earlier ones
    (mmdet's ``CachedMosaic`` and ``CachedMixUp``), data sets with random
    states of their own.

    Args:
        enabled: ``False`` switches it off where a base config has it:
            ``default_hooks = dict(exact_resume=dict(enabled=False))``.

    Raises:
        ConfigError: At the start of the training, where the run has no seed,
            or something in its config cannot be resumed exactly; and where a
            checkpoint to be resumed does not fit, whole (this is looked at
            with ``enabled=False`` too).
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
        if is_beyond_end(loop, runner.epoch, runner.iter):
            runner.logger.info(
                'The training has reached its end (epoch %d of %d, iteration '
                '%d of %d): there is nothing left to do.',
                runner.epoch,
                runner.max_epochs,
                runner.iter,
                runner.max_iters,
            )
        if runner.cfg.get('randomness', {}).get('seed') is None:
            raise ConfigError(
                'exact resume needs a seed',
                where='randomness.seed',
                fix=f'add randomness = dict(seed=0), {OFF}',
            )
        epoch_based = check_loop(loop)
        check_checkpoints(runner, epoch_based)
        check_schedulers(runner)
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

    def after_train_epoch(self, runner: Any) -> None:
        """Give all ranks the statistics that a checkpoint is to hold."""
        if self.enabled and not self._batches.endless:
            _share_statistics(bare_model(runner))

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, **_: Any
    ) -> None:
        """Likewise, where an iteration-based loop saves."""
        if not self.enabled or not self._batches.endless:
            return
        if any(
            self.every_n_train_iters(runner, hook.interval, hook.save_begin)
            for hook in runner.hooks
            if isinstance(hook, CheckpointHook)
        ):
            _share_statistics(bare_model(runner))

    def before_save_checkpoint(
        self, runner: Any, checkpoint: dict[str, Any]
    ) -> None:
        """Add what preprocessors keep from step to step."""
        if self.enabled:
            check_gathered(runner.optim_wrapper)
            checkpoint[_KEY] = _plain_state(bare_model(runner))

    def after_load_checkpoint(
        self, runner: Any, checkpoint: dict[str, Any]
    ) -> None:
        """Check that what is resumed fits, whole; keep what was added."""
        self._restored = {}
        if not runner._resume:
            check_loadable(runner, checkpoint)
        # A checkpoint that is only loaded from starts a training anew.
        if runner._resume and isinstance(runner._train_loop, BaseLoop):
            check_resumable(runner, checkpoint, exact=self.enabled)
            own = _plain_state(bare_model(runner))
            kept = checkpoint.get(_KEY)
            self._restored = check_kept(runner, kept, own, _KEY)
            _forget_unsaved(checkpoint['message_hub'])
            _disarm(runner, checkpoint['message_hub'])

    def _restore_preprocessor(self, runner: Any) -> None:
        model = bare_model(runner)
        modules = dict(model.data_preprocessor.named_modules())
        for path, value in self._restored.items():
            name, _, attribute = path.rpartition('.')
            if attribute in vars(modules.get(name, object)):
                setattr(modules[name], attribute, value)

    def _stream(self, *parts: int | str) -> int:
        return derive_seed(self._seed, *parts, get_rank())


def _forget_unsaved(hub: dict[str, Any]) -> None:
    """Drop the names of what was not saved: who logs it says so anew.

    Where a name is marked and its next entry is not, or the other way round,
    mmengine stops.
    """
    marks = hub['resumed_keys']
    for key in [key for key, saved in marks.items() if saved is False]:
        del marks[key]


def _disarm(runner: Any, hub: dict[str, Any]) -> None:
    """Leave mmengine's own hook no names of files that it would remove.

    :class:`SafeCheckpointHook` knows those that are its own.
    """
    if not any(
        isinstance(hook, CheckpointHook)
        and not isinstance(hook, SafeCheckpointHook)
        for hook in runner.hooks
    ):
        return
    claims = take_claims(hub['runtime_info'], hub['resumed_keys'])
    scores, bad = good_scores(claims)
    hub['runtime_info'].update(scores)
    hub['resumed_keys'].update(dict.fromkeys(scores, True))
    left_out = bad + sorted({**claims.steps, **claims.best})
    if left_out:
        runner.logger.warning(
            "Left out of the checkpoint: %s. mmengine's CheckpointHook would "
            'remove the files that they name; they stay. '
            'mmtst.SafeCheckpointHook knows which are its own.',
            ', '.join(left_out),
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
            fix=OFF.removeprefix('or '),
        )
    if isinstance(loader.dataset, IterableDataset):
        raise ConfigError(
            'exact resume needs a data set that can be indexed',
            where=f'{where}.dataset',
            got=type(loader.dataset).__name__,
            fix=OFF.removeprefix('or '),
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


def _share_statistics(model: Any) -> None:
    """Average running statistics over the ranks.

    Each rank gathers its own, and a checkpoint holds those of the first.
    """
    statistics = [
        buffer
        for module in getattr(model, 'student', model).modules()
        if updates_statistics(module)
        for buffer in module.buffers(recurse=False)
        if buffer.is_floating_point()
    ]
    all_reduce_params(statistics, op='mean')


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
