"""Build students and teachers from their standard configs.

mmrazor's ``cfg_path`` cannot override anything: 80 classes stay 80. Here
``cfg_options`` are merged into the file's ``model`` before it is built.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.hub import get_config
from mmengine.model import BaseModel
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import DefaultScope

from mmtst.registry import MODELS, check_config
from mmtst.utils.checkpoint import (
    check_finite,
    load_exactly,
    read_checkpoint,
)
from mmtst.utils.errors import ConfigError

_KEYS = ('cfg_path', 'cfg_options', 'pretrained')


def resolve_model_cfg(cfg: dict[str, Any], where: str) -> ConfigDict:
    """Return the plain model config that a reference stands for.

    Args:
        cfg: ``dict(cfg_path=..., cfg_options=...)``, where ``cfg_path`` is
            ``'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'`` or a local
            file and ``cfg_options`` is a nested dictionary merged into the
            file's ``model`` (``_delete_=True`` works as in config files); or
            a plain model config, which comes back as it is.
        where: Path of this option in the config, for error messages.

    Returns:
        A model config with ``_scope_`` set to the package it is from.

    Raises:
        ConfigError: The file is not found, has no ``model``, or the
            reference has unknown keys.
    """
    if 'cfg_path' not in cfg:
        return ConfigDict(cfg)
    unknown = sorted(set(cfg) - set(_KEYS))
    if unknown:
        raise ConfigError(
            f'unknown keys beside cfg_path: {", ".join(unknown)}',
            where=where,
            allowed=', '.join(_KEYS),
            fix='put overrides of the model into cfg_options',
        )
    if cfg.get('pretrained'):
        raise ConfigError(
            'pretrained=True would download weights while the model is built',
            where=f'{where}.pretrained',
            got=cfg['pretrained'],
            allowed='False, or no such key',
            fix='name the file or URL in model.teacher_ckpt, or set an '
            'init_cfg in cfg_options',
        )
    path = str(cfg['cfg_path'])
    try:
        if '::' in path:
            file = get_config(path)
            scope = path.split('::')[0]
        else:
            file = Config.fromfile(path)
            scope = file.get('default_scope', Path(path).stem)
    except Exception as error:
        raise ConfigError(
            f'the model config cannot be read: {error}',
            where=f'{where}.cfg_path',
            got=path,
            allowed='PACKAGE::FOLDER/NAME.py with PACKAGE one of mmdet, '
            'mmseg, mmpretrain, or the path of a config file',
        ) from error
    if 'model' not in file:
        raise ConfigError(
            'the config file has no model',
            where=f'{where}.cfg_path',
            got=path,
        )
    # As for mmengine's runner, what the model itself has goes before.
    shared = file.get('data_preprocessor')
    if shared is not None and file.model.get('data_preprocessor') is None:
        file.model.data_preprocessor = shared
    # mmengine takes `_delete_` out of what it merges: the next one needs it.
    options = copy.deepcopy(cfg.get('cfg_options') or {})
    merged = Config(dict(model=file.model))
    merged.merge_from_dict(dict(model=options))
    model = merged.model
    model.setdefault('_scope_', scope)
    return model


def build_model(cfg: dict[str, Any] | BaseModel, where: str) -> BaseModel:
    """Build a student or a teacher.

    Args:
        cfg: A reference or plain config as for :func:`resolve_model_cfg`, or
            a built model, which comes back as it is.
        where: Path of this option in the config, for error messages.

    Raises:
        ConfigError: See :func:`resolve_model_cfg`; or the config builds no
            ``mmengine.model.BaseModel``.
    """
    if isinstance(cfg, BaseModel):
        return cfg
    if not isinstance(cfg, dict):
        raise ConfigError(
            'this is no model',
            where=where,
            got=cfg,
            allowed='a model config, or dict(cfg_path=..., cfg_options=...)',
        )
    model_cfg = resolve_model_cfg(cfg, where)
    scope = model_cfg.get('_scope_')
    with DefaultScope.overwrite_default_scope(scope):
        check_config(model_cfg, where, MMENGINE_MODELS)
        model = MMENGINE_MODELS.build(model_cfg)
    if not isinstance(model, BaseModel):
        raise ConfigError(
            'this builds no model that can be trained',
            where=f'{where}.type',
            got=type(model).__name__,
            allowed='a detector, segmentor or classifier',
        )
    return model


def load_model(model: BaseModel, checkpoint: str, where: str) -> None:
    """Load a checkpoint that must fit a built model key by key.

    Args:
        model: What is loaded into; the runner will not initialise it anew.
        checkpoint: A file or URL.
        where: Path of the option in the config, for error messages.

    Raises:
        ConfigError: The file cannot be read or does not fit.
    """
    content = read_checkpoint(checkpoint, where=where)
    weights = content['state_dict']
    check_finite(weights, model, where=where, source=checkpoint)
    load_exactly(model, weights, where=where, source=checkpoint)
    meta = content.get('meta') or {}
    known = meta.get('dataset_meta') or meta  # as OpenMMLab 1.x has it
    if isinstance(known, dict) and {'classes', 'CLASSES'} & set(known):
        # Where OpenMMLab's inference puts the classes of the training.
        model.dataset_meta = known
    # Or the runner's init_weights would overwrite what was loaded.
    model._is_init = True


def model_from_config(
    cfg_path: str,
    cfg_options: dict[str, Any] | None = None,
    checkpoint: str | None = None,
) -> BaseModel:
    """Build a model by reference wherever a registry builds one.

    With it mmrazor's own algorithms can override parts of a standard config:
    ``architecture=dict(type='mmtst.model_from_config', cfg_path=...,
    cfg_options=...)``.

    Args:
        cfg_path: As for :func:`resolve_model_cfg`.
        cfg_options: Likewise.
        checkpoint: Weights that must fit key by key.

    Raises:
        ConfigError: See :func:`resolve_model_cfg` and :func:`load_model`.
    """
    where = 'model_from_config'
    reference = dict(cfg_path=cfg_path, cfg_options=cfg_options)
    model = build_model(reference, where)
    if checkpoint is not None:
        load_model(model, checkpoint, f'{where}.checkpoint')
    return model


MODELS.register_module(module=model_from_config)
