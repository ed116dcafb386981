"""Read checkpoints without executing what they contain.

mmengine's own checkpoint files hold, beside tensors, the log history
(`HistoryBuffer`, numpy arrays) and a reference to ``getattr``. torch's
weights-only reader refuses all of these. Here just what such a file needs is
allowed, and ``getattr`` is replaced by one that hands out nothing but
``HistoryBuffer``'s statistics: the real one would let a file reach any
function.
"""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from numpy._core import multiarray

from mmtst.utils.errors import ConfigError

_STATISTICS = ('min', 'max', 'mean', 'current', 'statistics')


def _statistics_getattr(owner: object, name: str) -> Any:
    """Return one of ``HistoryBuffer``'s statistics; refuse all else."""
    if owner is HistoryBuffer and name in _STATISTICS:
        return getattr(HistoryBuffer, name)
    raise ValueError(
        f'the checkpoint asks for attribute {name!r} of {owner!r}; only the '
        'statistics of HistoryBuffer are handed out'
    )


def _codecs_encode(text: str, encoding: str = 'utf-8') -> bytes:
    """Encode as numpy's pickles do (latin1), with no other codec."""
    if encoding not in ('latin1', 'utf-8'):
        raise ValueError(f'the checkpoint asks for codec {encoding!r}')
    return codecs.encode(text, encoding)


def allow_checkpoint_globals() -> None:
    """Let ``torch.load(weights_only=True)`` read mmengine's files.

    Acts on torch's process-wide list, so that mmengine's own resume and
    ``load_from`` profit too. Calling it again changes nothing.
    """
    numpy_types: list[Any] = [
        (multiarray._reconstruct, f'numpy.{core}.multiarray._reconstruct')
        for core in ('core', '_core')
    ]
    numpy_types += [
        (multiarray.scalar, f'numpy.{core}.multiarray.scalar')
        for core in ('core', '_core')
    ]
    dtype_classes = {
        type(np.dtype(code)) for code in '?bhilqBHILQefdgSU' if code
    }
    torch.serialization.add_safe_globals(
        [
            HistoryBuffer,
            np.ndarray,
            np.dtype,
            *numpy_types,
            *sorted(dtype_classes, key=lambda cls: cls.__name__),
            (_statistics_getattr, 'builtins.getattr'),
            (_codecs_encode, '_codecs.encode'),
        ]
    )


def read_checkpoint(path: str | Path, *, where: str) -> dict[str, Any]:
    """Read a checkpoint file onto the CPU, weights only.

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
    allow_checkpoint_globals()
    name = str(path)
    try:
        if '://' in name:
            from mmengine.runner.checkpoint import _load_checkpoint

            content = _load_checkpoint(name, map_location='cpu')
        else:
            content = torch.load(name, map_location='cpu', weights_only=True)
    except FileNotFoundError as error:
        raise ConfigError(
            'the checkpoint does not exist',
            where=where,
            got=name,
            fix='give the path of a file, or a URL',
        ) from error
    except Exception as error:
        raise ConfigError(
            f'the checkpoint cannot be read: {error}',
            where=where,
            got=name,
            allowed='a checkpoint of mmengine, mmdet, mmseg or mmpretrain, or '
            'a state dict saved by torch',
        ) from error
    if not isinstance(content, dict):
        raise ConfigError(
            'the checkpoint holds no dictionary',
            where=where,
            got=type(content).__name__,
            allowed='a state dict, or a dictionary with a "state_dict"',
        )
    if 'state_dict' in content:
        return content
    return {'state_dict': content}


def load_exactly(
    module: torch.nn.Module,
    state_dict: dict[str, torch.Tensor],
    *,
    where: str,
    source: str,
) -> None:
    """Load a state dict that must fit the module key by key.

    Args:
        module: What is loaded into.
        state_dict: Tensors by name; a leading ``module.`` is dropped.
        where: The option that named the file, for error messages.
        source: The file's name, for error messages.

    Raises:
        ConfigError: Keys are missing, unexpected or of another shape; the
            module is left as it was.
    """
    given = {k.removeprefix('module.'): v for k, v in state_dict.items()}
    own = module.state_dict()
    missing = [k for k in own if k not in given]
    # A counter that old files lack and that evaluation never reads.
    missing = [k for k in missing if not k.endswith('num_batches_tracked')]
    unexpected = [k for k in given if k not in own]
    shapes = [
        f'{k}: {tuple(v.shape)} in the file, {tuple(own[k].shape)} here'
        for k, v in given.items()
        if k in own and v.shape != own[k].shape
    ]
    if missing or unexpected or shapes:
        parts = [f'{source} does not fit {type(module).__name__}']
        for title, names in (
            ('missing', missing),
            ('unexpected', unexpected),
            ('other shape', shapes),
        ):
            if names:
                shown = ', '.join(names[:4])
                more = f' and {len(names) - 4} more' if len(names) > 4 else ''
                parts.append(f'  {title}: {shown}{more}')
        raise ConfigError(
            '\n'.join(parts),
            where=where,
            fix='give a checkpoint trained with this very model config (same '
            'class count, depth and head), or change the model config',
        )
    module.load_state_dict(given, strict=False)
