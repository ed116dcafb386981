"""Look at the parts of a config that a tool is about to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, MODELS, DefaultScope

from mmtst.registry import check_config
from mmtst.utils.checks import check_number
from mmtst.utils.errors import ConfigError

_DICTS = (
    'data_preprocessor',
    'default_hooks',
    'env_cfg',
    'log_processor',
    'optim_wrapper',
    'randomness',
    'test_cfg',
    'test_dataloader',
    'train_cfg',
    'train_dataloader',
    'val_cfg',
    'val_dataloader',
    'visualizer',
)
_STRINGS = ('work_dir', 'load_from', 'default_scope', 'experiment_name')
_TRAINING = ('train_dataloader', 'train_cfg', 'optim_wrapper')


def check_parts(cfg: Config, needed: Sequence[str] = ()) -> None:
    """Check what mmengine and the tools read at the top of a config.

    Args:
        cfg: The config.
        needed: Parts that it must have, beside its model.

    Raises:
        ConfigError: A part is missing or of another kind, or a number of it
            out of range.
    """
    check_model(cfg)
    for name in _DICTS:
        value = cfg.get(name)
        if value is None and name not in needed:
            continue
        if not isinstance(value, Mapping):
            raise _wrong(name, value, 'a dict')
    for name in _STRINGS:
        value = cfg.get(name)
        if value is not None and (not isinstance(value, str) or not value):
            raise _wrong(name, value, 'a string')
    for name in ('train', 'val', 'test'):
        _check_loader(cfg, f'{name}_dataloader')
    _check_loop(cfg)
    seed = (cfg.get('randomness') or {}).get('seed')
    check_number(
        'randomness.seed',
        seed,
        least=0,
        below=2**32,
        whole=True,
        optional=True,
    )


def check_training(cfg: Config) -> None:
    """Check the parts that a training needs, its model and its hooks.

    Raises:
        ConfigError: See :func:`check_parts`; or model or a hook is of no
            known type, or has an option that its type has not.
    """
    check_parts(cfg, _TRAINING)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
        check_config(cfg.model, 'model', MODELS)
        for where, hook in _hooks(cfg):
            if isinstance(hook, Mapping):
                plain = {k: v for k, v in hook.items() if k != 'priority'}
                check_config(plain, where, HOOKS)
            elif hook is not None and not isinstance(hook, Hook):
                raise _wrong(where, hook, "dict(type='NAME', ...)")


def check_model(cfg: Config) -> None:
    """Check that a config has a model.

    Raises:
        ConfigError: It has none, or one without a type.
    """
    model = cfg.get('model')
    if not isinstance(model, Mapping):
        raise _wrong('model', model, "dict(type='NAME', ...)")
    if not isinstance(model.get('type'), (str, type)):
        raise _wrong('model.type', model.get('type'), 'the name of a model')


def _hooks(cfg: Config) -> list[tuple[str, Any]]:
    defaults = cfg.get('default_hooks') or {}
    found = [(f'default_hooks.{name}', h) for name, h in defaults.items()]
    custom = cfg.get('custom_hooks')
    if custom is not None and not isinstance(custom, (list, tuple)):
        raise _wrong('custom_hooks', custom, 'a list of hooks')
    return found + [
        (f'custom_hooks.{i}', hook) for i, hook in enumerate(custom or ())
    ]


def _check_loader(cfg: Config, name: str) -> None:
    loader = cfg.get(name)
    if loader is None:
        return
    for key, least in (('batch_size', 1), ('num_workers', 0)):
        if key in loader:
            check_number(f'{name}.{key}', loader[key], least=least, whole=True)
    if not isinstance(loader.get('dataset'), Mapping):
        raise _wrong(f'{name}.dataset', loader.get('dataset'), 'a dict')


def _check_loop(cfg: Config) -> None:
    loop = cfg.get('train_cfg') or {}
    for key in ('max_epochs', 'max_iters', 'val_interval', 'val_begin'):
        if key in loop:
            check_number(
                f'train_cfg.{key}',
                loop[key],
                least=0 if key == 'val_begin' else 1,
                whole=True,
                # Of mmengine, for the other unit.
                optional=key.startswith('max'),
            )


def _wrong(where: str, value: Any, allowed: str) -> ConfigError:
    what = 'is missing' if value is None else 'is of the wrong kind'
    return ConfigError(
        f'{where} {what}', where=where, got=value, allowed=allowed
    )
