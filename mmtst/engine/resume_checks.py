"""Check that a checkpoint fits the training that is to go on from it, whole.

mmengine loads what fits of the weights and logs the rest, and takes over all
else as it stands: what it is then comes out in some later step. Here it is
compared with what the training has built, before anything is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from mmengine.hooks import EMAHook
from mmengine.logging import HistoryBuffer
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from torch import Tensor

from mmtst.engine.resume_states import check_optimizer, check_schedulers
from mmtst.engine.resume_words import misfit
from mmtst.engine.run_context import bare_model
from mmtst.engine.written_files import is_whole
from mmtst.utils.checkpoint import check_finite, check_state_dict
from mmtst.utils.errors import ConfigError

# What mmengine's hooks save again, and would be stopped by finding it marked
# as not to be saved.
_SAVED_AGAIN = (
    'epoch',
    'iter',
    'max_epochs',
    'max_iters',
    'loop_stage',
    'dataset_meta',
    'keep_ckpt_ids',
    'last_ckpt',
    'best_score',
    'best_ckpt',
)
_MOST_SEED = 2**32
# No training comes near.
_MOST_STEPS = 2**48


def check_resumable(
    runner: Any, checkpoint: Mapping[str, Any], exact: bool
) -> None:
    """Refuse a checkpoint that does not fit, by the name of what does not.

    Args:
        runner: Of a training, all built but nothing loaded.
        checkpoint: What its file holds.
        exact: Whether the training is to be the uninterrupted one, so that
            also its position, the length of an epoch and the schedulers'
            steps have to agree.

    Raises:
        ConfigError: Something is missing, of another kind or shape, not
            finite, or of another training.
    """
    epoch, iteration = _check_meta(runner, checkpoint, exact)
    # At the end nothing of it is used any more.
    exact = exact and not is_beyond_end(runner.train_loop, epoch, iteration)
    _check_hub(runner, checkpoint.get('message_hub'))
    model = bare_model(runner).state_dict()
    _check_weights(runner, checkpoint, 'state_dict', model)
    _check_policy(runner, checkpoint['state_dict'])
    for hook in runner.hooks:
        if isinstance(hook, EMAHook) and (
            exact or 'ema_state_dict' in checkpoint
        ):
            averaged = hook.ema_model.state_dict()
            _check_weights(runner, checkpoint, 'ema_state_dict', averaged)
    check_optimizer(runner, checkpoint, exact)
    check_schedulers(runner, checkpoint, (epoch, iteration) if exact else None)


def check_loadable(runner: Any, checkpoint: Mapping[str, Any]) -> None:
    """Refuse a checkpoint of which mmengine would load nothing, or no numbers.

    Args:
        runner: Of a training that starts from the checkpoint's weights.
        checkpoint: What its file holds.

    Raises:
        ConfigError: It has no weight of the model, or some that are not
            finite.
    """
    source = str(runner._load_from or 'the checkpoint')
    weights = checkpoint.get('state_dict', checkpoint)
    check_state_dict(weights, where='load_from', source=source)
    model = bare_model(runner)
    found = {k.removeprefix('module.'): v for k, v in weights.items()}
    if not any(
        found.keys() & each.state_dict().keys()
        for each in (model, getattr(model, 'student', model))
    ):
        shown = ', '.join(list(found)[:3]) or 'none'
        raise ConfigError(
            f'no weight of the checkpoint is one of a {type(model).__name__}',
            where='load_from',
            got=source,
            allowed='a checkpoint of this model, or one like it',
            fix=f'look at its names: {shown}',
        )
    check_finite(found, model, where='load_from', source=source)


def is_beyond_end(loop: Any, epoch: int, iteration: int) -> bool:
    """Say whether nothing is left to do for a loop of mmengine's kinds."""
    if isinstance(loop, EpochBasedTrainLoop):
        return epoch >= int(loop.max_epochs)
    if isinstance(loop, IterBasedTrainLoop):
        return iteration >= int(loop.max_iters)
    return False


def _check_meta(
    runner: Any, checkpoint: Mapping[str, Any], exact: bool
) -> tuple[int, int]:
    """Return epoch and iteration at which the checkpoint was saved."""
    meta = checkpoint.get('meta')
    if not isinstance(meta, dict):
        raise misfit(
            runner,
            'it does not say where its training stood',
            'meta',
            type(meta).__name__,
            'a dictionary with epoch and iter',
        )
    for key in ('epoch', 'iter'):
        if not (is_whole(meta.get(key)) and meta[key] < _MOST_STEPS):
            raise misfit(
                runner,
                'it does not say where its training stood',
                f'meta.{key}',
                meta.get(key),
                'a whole number from 0',
            )
    seed = meta.get('seed')
    if seed is not None and not (is_whole(seed) and seed < _MOST_SEED):
        raise misfit(
            runner,
            'its seed is none',
            'meta.seed',
            seed,
            f'a whole number from 0, below {_MOST_SEED}, or None',
        )
    epoch, iteration = meta['epoch'], meta['iter']
    loop = runner.train_loop
    if not exact or is_beyond_end(loop, epoch, iteration):
        return epoch, iteration
    if isinstance(loop, EpochBasedTrainLoop):
        length = loop.max_iters // max(loop.max_epochs, 1)
        if iteration != epoch * length:
            raise misfit(
                runner,
                f'it was saved at iteration {iteration}, but {epoch} epochs '
                f'of this training are {epoch * length} iterations: it is of '
                'another data set, batch size, number of processes or loop, '
                'or was saved within an epoch',
                'meta.iter',
                iteration,
                f'{epoch * length}, as epochs have {length} iterations',
                off=True,
            )
    elif isinstance(loop, IterBasedTrainLoop) and epoch != 0:
        raise misfit(
            runner,
            'it was saved by a training that counts epochs',
            'meta.epoch',
            epoch,
            '0, as this one counts iterations',
            off=True,
        )
    return epoch, iteration


def _check_hub(runner: Any, hub: Any) -> None:
    tables = ('log_scalars', 'runtime_info', 'resumed_keys')
    if not isinstance(hub, dict) or not all(
        isinstance(hub.get(name), dict) for name in tables
    ):
        raise misfit(
            runner,
            'its message hub is none',
            'message_hub',
            {k: type(v).__name__ for k, v in hub.items()}
            if isinstance(hub, dict)
            else type(hub).__name__,
            'dictionaries ' + ', '.join(tables),
        )
    for name in tables:
        for key in hub[name]:
            if not isinstance(key, str):
                raise misfit(
                    runner,
                    'its message hub has a name that is no string',
                    f'message_hub.{name}',
                    key,
                )
    for key, value in hub['log_scalars'].items():
        if isinstance(value, HistoryBuffer) and not _is_history(value):
            raise misfit(
                runner,
                'its message hub has a history that is none',
                f'message_hub.log_scalars.{key}',
                {k: type(v).__name__ for k, v in vars(value).items()},
                'two arrays of numbers of one length',
            )
    for key, value in hub['resumed_keys'].items():
        needed = key in _SAVED_AGAIN
        needed = needed or runner.message_hub._resumed_keys.get(key) is True
        if not isinstance(value, bool) or (needed and not value):
            raise misfit(
                runner,
                'its message hub does not say what is to be saved',
                f'message_hub.resumed_keys.{key}',
                value,
                'True' if needed else 'True or False',
            )


def _is_history(buffer: HistoryBuffer) -> bool:
    state = vars(buffer)
    values, counts = state.get('_log_history'), state.get('_count_history')
    return (
        isinstance(values, np.ndarray)
        and isinstance(counts, np.ndarray)
        and values.ndim == 1
        and values.shape == counts.shape
        and values.dtype.kind in 'biuf'
        and counts.dtype.kind in 'biuf'
        and is_whole(state.get('max_length'))
        and state['max_length'] > 0
    )


def _check_weights(
    runner: Any,
    checkpoint: Mapping[str, Any],
    key: str,
    own: Mapping[str, Any],
) -> None:
    given = checkpoint.get(key)
    if not isinstance(given, Mapping):
        raise misfit(
            runner,
            'it holds no weights',
            key,
            type(given).__name__,
            'tensors by name',
        )
    found = _by_name(given) if key == 'state_dict' else dict(given)
    missing = [
        name
        for name in own
        if name not in found and not name.endswith('num_batches_tracked')
    ]
    unknown = [name for name in found if name not in own]
    for what, names in (
        ('lacks', missing),
        ('has what the model has not', unknown),
    ):
        if names:
            more = f' and {len(names) - 5} more' if len(names) > 5 else ''
            shown = ', '.join(f'{name!s:.80}' for name in names[:5])
            raise misfit(
                runner,
                f'it {what}: {shown}{more}',
                key,
                allowed='the names of this very model, neither more nor fewer',
            )
    for name, value in found.items():
        _check_tensor(runner, f'{key}.{name}', own[name], value)


def _by_name(given: Mapping[Any, Any]) -> dict[str, Any]:
    """Return weights by the names under which mmengine looks for them."""
    return {str(k).removeprefix('module.'): v for k, v in given.items()}


def _check_policy(runner: Any, given: Mapping[Any, Any]) -> None:
    augmentation = getattr(bare_model(runner), 'augmentation', None)
    limit = getattr(augmentation, 'clamp_theta', None)
    found = _by_name(given)
    for name in ('augmentation.th_p', 'augmentation.th_m'):
        if limit is not None and name in found:
            _check_range(runner, name, found[name], float(limit))


def _check_range(runner: Any, name: str, value: Tensor, limit: float) -> None:
    """Check that a search may have left a policy so."""
    most = float(value.abs().max())
    # Rounded, where another type of numbers was saved.
    if most > limit * 1.001:
        raise misfit(
            runner,
            f'the policy lies where no search leaves it: {name} reaches '
            f'{most:g}',
            f'state_dict.{name}',
            allowed=f'up to plus and minus {limit:g}, which is '
            'model.augmentation.clamp_theta',
        )


def _check_tensor(runner: Any, where: str, own: Any, value: Any) -> None:
    if not isinstance(own, Tensor):
        return  # An extra state, which its module knows.
    name = where.partition('.')[2]
    if not isinstance(value, Tensor):
        kind = type(value).__name__
        raise misfit(runner, f'{name} is no tensor', where, kind)
    if value.shape != own.shape:
        raise misfit(
            runner,
            f'{name} has another shape',
            where,
            tuple(value.shape),
            str(tuple(own.shape)),
        )
    if (
        value.is_floating_point() != own.is_floating_point()
        or value.is_complex() != own.is_complex()
        or value.layout != own.layout
    ):
        raise misfit(
            runner,
            f'{name} holds another kind of numbers',
            where,
            f'{value.dtype}, {value.layout}',
            f'{own.dtype}, {own.layout}',
        )
    if not bool(torch.isfinite(value).all()) and bool(
        torch.isfinite(own).all()
    ):
        raise misfit(
            runner,
            f'{name} is not finite',
            where,
            allowed='finite numbers',
        )


def check_kept(
    runner: Any, given: Any, own: Mapping[str, Any], key: str
) -> dict[str, Any]:
    """Return what preprocessors kept from step to step, if it fits.

    Args:
        runner: Of a training.
        given: What the checkpoint has under ``key``; ``None`` where it was
            saved without.
        own: What this training's preprocessors keep.
        key: For error messages.

    Raises:
        ConfigError: It is of another kind.
    """
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise misfit(runner, 'it is none', key, type(given).__name__)
    for name, value in given.items():
        if name not in own or not _is_alike(own[name], value):
            raise misfit(
                runner,
                'a data preprocessor cannot take over what it kept',
                f'{key}.{name}',
                value,
                'what those of this training keep, of the same kind',
            )
    return dict(given)


def _is_alike(own: Any, value: Any) -> bool:
    """Compare plain values: numbers, strings, or lists of them, or None."""
    if value is None or own is None:
        return True
    if isinstance(own, (tuple, list)):
        return isinstance(value, (tuple, list))
    if isinstance(own, bool) or isinstance(value, bool):
        return isinstance(own, bool) and isinstance(value, bool)
    if isinstance(own, str):
        return isinstance(value, str)
    return isinstance(value, (int, float))
