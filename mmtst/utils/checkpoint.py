"""Read checkpoints, and load what must fit exactly."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from mmengine.runner import CheckpointLoader
from torch import Tensor

from mmtst.utils.errors import ConfigError
from mmtst.utils.safe_loading import install_safe_loading
from mmtst.utils.safe_reading import CheckpointError

_WRAPPER = 'module.'


def read_checkpoint(path: str | Path, *, where: str) -> dict[str, Any]:
    """Read a checkpoint onto the CPU, without executing it.

    Args:
        path: A local file, or anything mmengine's loader takes (URL,
            ``torchvision://``, ``open-mmlab://``).
        where: The option that named the file, for error messages.

    Returns:
        The file's dictionary; a bare state dict comes back as
        ``{'state_dict': ...}``.

    Raises:
        ConfigError: The file is missing, is no checkpoint, or holds objects
            that are not read for safety.
    """
    install_safe_loading()
    name = str(path)
    try:
        content = CheckpointLoader.load_checkpoint(
            name, 'cpu', logger='silent'
        )
    except CheckpointError as error:
        raise error.at(where) from error
    except FileNotFoundError as error:
        raise ConfigError(
            'the checkpoint does not exist',
            where=where,
            got=name,
            fix='give the path of a file, or a URL',
        ) from error
    except Exception as error:
        raise ConfigError(
            f'the checkpoint cannot be read: {error}', where=where, got=name
        ) from error
    if not isinstance(content, dict):
        raise ConfigError(
            f'the checkpoint holds a {type(content).__name__}, no dictionary',
            where=where,
            got=name,
            allowed='a state dict, or a dictionary with a "state_dict"',
        )
    if 'state_dict' not in content:
        content = {'state_dict': content}
    check_state_dict(content['state_dict'], where=where, source=name)
    return content


def check_state_dict(weights: Any, *, where: str, source: str) -> None:
    """Check that weights are tensors by name.

    Args:
        weights: What a file has in the place of a state dict.
        where: The option that named the file, for error messages.
        source: The file's name, for error messages.

    Raises:
        ConfigError: It is no dictionary, or holds something else.
    """
    if not isinstance(weights, dict):
        problems = [f'it is a {type(weights).__name__}']
    else:
        problems = [
            f'the name {key!r:.60} is no text'
            if not isinstance(key, str)
            else f'{key:.60} is a {type(value).__name__}'
            for key, value in weights.items()
            if not isinstance(key, str)
            # Of whatever a module adds to its tensors.
            or not isinstance(value, Tensor)
            and not key.endswith('_extra_state')
        ]
    if problems:
        more = f' and {len(problems) - 4} more' if problems[4:] else ''
        raise ConfigError(
            'the checkpoint holds no state dict: '
            + '; '.join(problems[:4])
            + more,
            where=where,
            got=source,
            allowed='tensors by name, alone or as "state_dict" of a '
            'dictionary',
            fix="save the model's state_dict()",
        )


def non_finite_names(
    weights: dict[str, Tensor], module: torch.nn.Module
) -> list[str]:
    """Name the weights that hold numbers which are not finite.

    Args:
        weights: Tensors by name.
        module: Whose weights they are, as it was built: what is infinite
            there too, such as a mask, may be so.

    Returns:
        The names, in the order of the weights.
    """
    own = module.state_dict()
    names = []
    for name, value in weights.items():
        numbers = isinstance(value, Tensor) and (
            value.is_floating_point() or value.is_complex()
        )
        if not numbers:
            continue
        bad = ~value.isfinite()
        built = own.get(name)
        if built is not None and built.shape == value.shape:
            bad &= value != built.to(value)
        if bool(bad.any()):
            names.append(name)
    return names


def check_finite(
    weights: dict[str, Tensor],
    module: torch.nn.Module,
    *,
    where: str,
    source: str,
) -> None:
    """Refuse weights of which some numbers are not finite.

    Args:
        weights: Tensors by name.
        module: Whose weights they are, as it was built.
        where: The option that named the file, for error messages.
        source: The file's name, for error messages.

    Raises:
        ConfigError: Some are not.
    """
    names = non_finite_names(weights, module)
    if names:
        more = f' and {len(names) - 4} more' if names[4:] else ''
        raise ConfigError(
            f'weights are not finite: {", ".join(names[:4])}{more}',
            where=where,
            got=source,
            fix='take a checkpoint from before the training diverged',
        )


def load_exactly(
    module: torch.nn.Module,
    state_dict: dict[str, torch.Tensor],
    *,
    where: str,
    source: str,
) -> None:
    """Load a state dict that must fit the module key by key.

    Names of older versions fit where the module itself knows them: mmdet's
    FCOS takes ``bbox_head.fcos_cls`` for ``bbox_head.conv_cls``. The state
    dict's own versions (``_metadata``) say which those are.

    Args:
        module: What is loaded into.
        state_dict: Tensors by name; a leading ``module.`` is dropped.
        where: The option that named the file, for error messages.
        source: The file's name, for error messages.

    Raises:
        ConfigError: Keys are missing, unexpected or of another shape; the
            module is left as it was.
    """
    given = _without_wrapper(state_dict)
    misfits = _misfits(module, given)
    if not any(misfits.values()):
        module.load_state_dict(given, strict=False)
        return
    # Renamed, not left out, added, or brought into another shape.
    missing, unexpected, other_shape = misfits.values()
    renamed = len(missing) == len(unexpected) and not other_shape
    if not (renamed and _load_renamed(module, given)):
        raise _misfit_error(type(module).__name__, misfits, where, source)


def _without_wrapper(
    state_dict: dict[str, torch.Tensor],
) -> OrderedDict[str, torch.Tensor]:
    """Return a copy without the leading ``module.`` of a wrapped model."""
    given = OrderedDict(
        (name.removeprefix(_WRAPPER), value)
        for name, value in state_dict.items()
    )
    versions = getattr(state_dict, '_metadata', None)
    if versions is not None:
        # Of modules, the wrapped one itself being ``module``.
        vars(given)['_metadata'] = OrderedDict(
            (f'{name}.'.removeprefix(_WRAPPER).removesuffix('.'), value)
            for name, value in versions.items()
        )
    return given


def _misfits(
    module: torch.nn.Module, given: dict[str, torch.Tensor]
) -> dict[str, list[str]]:
    """Return what does not fit, by kind, as far as names alone tell."""
    own = module.state_dict()
    return {
        'missing': _but_counters([k for k in own if k not in given]),
        'unexpected': [k for k in given if k not in own],
        'other shape': [
            f'{k}: {tuple(v.shape)} in the file, {tuple(own[k].shape)} here'
            for k, v in given.items()
            if k in own and v.shape != own[k].shape
        ],
    }


def _but_counters(names: Iterable[str]) -> list[str]:
    """Drop a counter that old files lack and that evaluation never reads."""
    return [k for k in names if not k.endswith('num_batches_tracked')]


def _load_renamed(
    module: torch.nn.Module, given: dict[str, torch.Tensor]
) -> bool:
    """Load with the module's own renaming, which only loading carries out.

    Returns:
        Whether it fits; if not, the module is as it was.
    """
    own = module.state_dict()
    before = {name: value.clone() for name, value in own.items()}
    try:
        keys = module.load_state_dict(given, strict=False)
    except RuntimeError:  # of another shape
        pass
    else:
        if not _but_counters(keys.missing_keys) and not keys.unexpected_keys:
            return True
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(before[name])
    return False


def _misfit_error(
    model: str, misfits: dict[str, list[str]], where: str, source: str
) -> ConfigError:
    parts = [f'{source} does not fit {model}']
    for title, names in misfits.items():
        if names:
            shown = ', '.join(names[:4])
            more = f' and {len(names) - 4} more' if len(names) > 4 else ''
            parts.append(f'  {title}: {shown}{more}')
    return ConfigError(
        '\n'.join(parts),
        where=where,
        fix='give a checkpoint trained with this very model config (same '
        'class count, depth and head), or change the model config',
    )
