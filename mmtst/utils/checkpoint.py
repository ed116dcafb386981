"""Read checkpoints, and load what must fit exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.runner import CheckpointLoader

from mmtst.utils.errors import ConfigError
from mmtst.utils.safe_loading import install_safe_loading
from mmtst.utils.safe_reading import CheckpointError


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
