"""Read pickled checkpoints without running what they name.

A pickle runs what it names, and a checkpoint is a pickle. torch's
weights-only reader refuses what is not on a list; mmengine's files need a few
things beside tensors, and the list here has just these. Where a name on it
would reach further than needed (``getattr``, numpy's unpickling), a stand-in
takes its place. Texts of configs are dropped, since those who find them
execute them.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pickle import UnpicklingError
from typing import IO, Any

import torch
from mmengine.logging import HistoryBuffer, print_log

from mmtst.utils.bounded_pickle import open_regular
from mmtst.utils.bounded_tree import BoundError
from mmtst.utils.checkpoint_bounds import check_checkpoint
from mmtst.utils.errors import ConfigError
from mmtst.utils.numpy_stand_ins import NUMPY_GLOBALS, restore
from mmtst.utils.torch_pickle import STATISTICS, name_of

_READABLE = (
    'a checkpoint of mmengine, mmdet, mmseg or mmpretrain, or a state dict '
    'saved by torch'
)
_trusted = False


class CheckpointError(ConfigError):
    """Report a checkpoint that is not read; see :class:`ConfigError`."""

    def __init__(self, what: str, **lines: Any) -> None:
        super().__init__(what, **lines)
        self._what, self._lines = what, lines

    def at(self, where: str) -> CheckpointError:
        """Return the same with the option that named the file."""
        return type(self)(self._what, **{**self._lines, 'where': where})


def trust_checkpoints(trusted: bool = True) -> None:
    """Let checkpoints run code while they are read, or stop that.

    Args:
        trusted: Whether every file read from here on, in this process, is
            known to come from a trusted source.
    """
    global _trusted
    _trusted = trusted
    if trusted:
        print_log(
            'Checkpoints are read as pickles from here on: each can run any '
            'code with your rights. Do this only with files whose source you '
            'trust.',
            logger='current',
            level=logging.WARNING,
        )


def checkpoints_are_trusted() -> bool:
    """Say whether checkpoints are read as pickles."""
    return _trusted


def _statistics_getattr(owner: object, name: object) -> Any:
    """Return one of ``HistoryBuffer``'s statistics; refuse all else."""
    known = isinstance(name, str) and name in STATISTICS
    if owner is HistoryBuffer and known:
        return getattr(HistoryBuffer, str(name))
    raise UnpicklingError(f'attribute {name!r} of {owner!r}')


_ALLOWED: list[Any] = [
    HistoryBuffer,
    (_statistics_getattr, 'builtins.getattr'),
    *NUMPY_GLOBALS,
]


@contextmanager
def _allowing() -> Iterator[None]:
    """Put our list on torch's, for the time of one reading.

    What others have allowed stays allowed, but not under a name of ours:
    another package's ``getattr`` would be the real one. ``HistoryBuffer``
    keeps the statistics that a file brings for the whole class; they go.
    """
    HistoryBuffer()  # The first in a process brings the class its own.
    statistics = dict(HistoryBuffer._statistics_methods)
    before = torch.serialization.get_safe_globals()
    own = {name_of(entry) for entry in _ALLOWED}
    others = [entry for entry in before if name_of(entry) not in own]
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals([*others, *_ALLOWED])
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)
        HistoryBuffer._statistics_methods.clear()
        HistoryBuffer._statistics_methods.update(statistics)


def read_safely(
    name: str,
    source: str | PathLike[str] | bytes,
    map_location: Any = None,
) -> Any:
    """Read a checkpoint, weights only unless checkpoints are trusted.

    Args:
        name: The file's name, for error messages.
        source: Its path, or its content.
        map_location: As for ``torch.load``.

    Returns:
        The content, with real numpy arrays and without the texts of configs.

    Raises:
        CheckpointError: The file asks for what is not read, is broken, or
            would grow out of bounds.
        OSError: The file is not there, or cannot be read.
    """
    try:
        if _trusted:
            content = _load(source, map_location, safe=False)
        else:
            content = read_weights_only(source, map_location)
    except OSError:
        raise
    except Exception as error:
        if isinstance(error, BoundError) or not isinstance(
            error, UnpicklingError
        ):
            raise CheckpointError(
                f'the checkpoint cannot be read: {explain(error)}',
                got=name,
                allowed=_READABLE,
            ) from error
        raise CheckpointError(
            'the checkpoint is not read, since reading it could run code: '
            f'{explain(error)}',
            got=name,
            allowed="tensors, plain values, arrays of numbers and mmengine's "
            'log history',
            fix='take another file; only if you trust the source of this one '
            '(it can run any code), give --trust-checkpoint to the tool, or '
            'call mmtst.utils.safe_reading.trust_checkpoints()',
        ) from error
    return _without_configs(content)


def read_weights_only(
    source: str | PathLike[str] | bytes, map_location: Any = None
) -> Any:
    """Read a file of ``torch.save`` within bounds, running nothing.

    Whether checkpoints are trusted makes no difference.

    Args:
        source: The path, or the content.
        map_location: As for ``torch.load``.

    Returns:
        The content, with real numpy arrays.

    Raises:
        BoundError: The file is broken, or would grow out of bounds; the
            message ends a sentence.
        UnpicklingError: It asks for what is not read.
        OSError: It is not there, or cannot be read.
    """
    with _allowing():
        with _open(source) as file:
            check_checkpoint(file)
        return restore(_load(source, map_location, safe=True))


def _open(source: str | PathLike[str] | bytes) -> IO[bytes]:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    return open_regular(source)


def _load(
    source: str | PathLike[str] | bytes, map_location: Any, *, safe: bool
) -> Any:
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    # Always said to torch, whose default an environment variable moves.
    return torch.load(file, map_location=map_location, weights_only=safe)


def explain(error: Exception) -> str:
    """Say why a file was not read, without torch's advice to do so unsafely.

    Args:
        error: What :func:`read_weights_only` raised.

    Returns:
        What ends a sentence.
    """
    text = str(error).strip() or type(error).__name__
    if isinstance(error, BoundError):
        return text
    if isinstance(error, UnpicklingError):
        return f'it asks for {_asked(error)}'
    sentences = re.split(r'(?<=[.!])\s+', text)
    kept = [part for part in sentences if 'weights_only' not in part]
    return ' '.join(kept)[:500] or type(error).__name__


def _asked(error: UnpicklingError) -> str:
    """Say what a file asked for, out of torch's long message."""
    text = str(error).split('WeightsUnpickler error: ')[-1]
    found = re.search(r'GLOBAL (\S+)', text)
    if found:
        return found[1]
    operand = re.search(r'Unsupported operand \d+', text)
    if operand:
        return f'what torch.save does not write ({operand[0]})'
    return text.strip().splitlines()[0] if text.strip() else 'something else'


def _without_configs(content: Any) -> Any:
    """Drop the texts of configs, in place.

    mmengine's resume executes ``meta['config']``, its inferencers and
    mmrazor's ``RuntimeInfo`` the other two. None is needed: whoever loads a
    checkpoint here has a config.
    """
    if not isinstance(content, dict):
        return content
    hub = content.get('message_hub')
    info = hub.get('runtime_info') if isinstance(hub, dict) else None
    for table in (content.get('meta'), info):
        if isinstance(table, dict):
            table.pop('config', None)
            table.pop('cfg', None)
    return content
