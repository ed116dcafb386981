"""Write files that are hostile, broken, or too much."""

from __future__ import annotations

import functools
import importlib
import io
import os
import pickle
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import HistoryBuffer

PICKLE_END = b'.'
Write = Callable[[Path, Path, Path], None]
"""Writes a file: (path, what hostile code would make, a good file)."""


class Call:
    """Be pickled as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.reduced


def read(path: Path) -> Any:
    """Read a checkpoint of our own."""
    return torch.load(path, map_location='cpu', weights_only=False)


def torch_zip(path: Path, content: bytes | int, deflate: bool = False) -> None:
    """Write an archive as torch does, around a pickle.

    Args:
        path: Of the archive.
        content: The pickle; a number stands for so many mebibytes of lists.
        deflate: Whether to compress.
    """
    kind = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, 'w', kind) as archive:
        with archive.open('archive/data.pkl', 'w', force_zip64=True) as file:
            if isinstance(content, int):
                file.write(b'\x80\x02')
                for _ in range(content):
                    file.write(b']' * (1 << 20))
                file.write(PICKLE_END)
            else:
                file.write(content)
        archive.writestr('archive/version', '3\n')


def with_meta(value: Callable[[Path], Any], **options: Any) -> Write:
    """Return what puts an object beside the weights of a good file."""

    def write(path: Path, marker: Path, good: Path) -> None:
        content = read(good)
        content['meta'] = {**content['meta'], 'extra': value(marker)}
        torch.save(content, path, **options)

    return write


def changed(change: Callable[[dict[str, Any]], Any]) -> Write:
    """Return what saves what a function makes of a good file's content."""

    def write(path: Path, marker: Path, good: Path) -> None:
        content = read(good)
        result = change(content)
        torch.save(content if result is None else result, path)

    return write


def of_bytes(change: Callable[[bytes], bytes]) -> Write:
    """Return what writes what a function makes of a good file's bytes."""

    def write(path: Path, marker: Path, good: Path) -> None:
        path.write_bytes(change(good.read_bytes()))

    return write


def flip(content: bytes) -> bytes:
    """Flip bits all over a file."""
    changed = bytearray(content)
    for place in range(0, len(changed), max(1, len(changed) // 200)):
        changed[place] ^= 0x55
    return bytes(changed)


def _by_getattr(marker: Path) -> Any:
    """Reach ``open`` with ``getattr`` and what torch itself allows."""
    call = torch._tensor._rebuild_from_type_v2
    start = Call(getattr, HistoryBuffer, 'update')
    look_up = Call(getattr, Call(getattr, start, '__builtins__'), 'get')
    kind = Call(getattr, look_up, '__class__')
    function = Call(call, look_up, kind, ('open',), None)
    return [Call(call, function, kind, (str(marker), 'w'), None)]


def _touch(marker: Path) -> str:
    return f'touch {marker}'


def _open(marker: Path) -> str:
    return f'open({str(marker)!r}, "w").close()'


def _plain_pickle(path: Path, marker: Path, good: Path) -> None:
    path.write_bytes(pickle.dumps(Call(os.system, _touch(marker))))


def _hidden_in_weights(path: Path, marker: Path, good: Path) -> None:
    content = read(good)
    content['state_dict']['x'] = Call(os.system, _touch(marker))
    torch.save(content, path)


def _by_numpy(marker: Path) -> Any:
    module = importlib.import_module('numpy.testing._private.utils')
    return Call(module.runstring, _open(marker), {})


def _second_file(path: Path, marker: Path, good: Path) -> None:
    """Let the file load another one, without the weights-only reader."""
    inner = path.with_name('inner.pth')
    torch.save(Call(os.system, _touch(marker)), inner)
    load = Call(torch.load, str(inner), None, None)
    torch.save({'state_dict': {}, 'more': load}, path)


def _whole_model(path: Path, marker: Path, good: Path) -> None:
    torch.save(torch.nn.Sequential(torch.nn.Linear(2, 2)), path)


def _statistics(marker: Path) -> Any:
    """Bring the log's class a statistic that runs code."""
    buffer = HistoryBuffer([1.0], [1])
    buffer.__dict__['_statistics_methods'] = {
        'mean': Call(eval, _open(marker))
    }
    return buffer


HOSTILE: dict[str, Write] = {
    'os.system': with_meta(lambda m: Call(os.system, _touch(m))),
    'eval': with_meta(lambda m: Call(eval, _open(m))),
    'exec': with_meta(lambda m: Call(exec, _open(m))),
    'Popen': with_meta(lambda m: Call(subprocess.Popen, ['touch', str(m)])),
    'os.mkdir': with_meta(lambda m: Call(os.mkdir, str(m))),
    'getattr': with_meta(_by_getattr),
    'functools.partial': with_meta(
        lambda m: Call(functools.partial(os.system, _touch(m)))
    ),
    'numpy': with_meta(_by_numpy),
    'log history': with_meta(_statistics),
    'old format': with_meta(
        lambda m: Call(os.system, _touch(m)),
        _use_new_zipfile_serialization=False,
    ),
    'pickle protocol 4': with_meta(
        lambda m: Call(os.system, _touch(m)), pickle_protocol=4
    ),
    'plain pickle': _plain_pickle,
    'among the weights': _hidden_in_weights,
    'second file': _second_file,
    'whole model': _whole_model,
}


def _laughs(path: Path, marker: Path, good: Path) -> None:
    content: Any = 'lol'
    for _ in range(60):
        content = [content, content]
    torch.save({'state_dict': {}, 'meta': {'laughs': content}}, path)


def _deep(path: Path, marker: Path, good: Path) -> None:
    depth = 200_000
    nested = b'\x80\x02' + b']' * depth + b'a' * (depth - 1) + PICKLE_END
    torch_zip(path, nested)


def _deep_weights(path: Path, marker: Path, good: Path) -> None:
    depth = 50_000
    nested = b']' * depth + b'a' * (depth - 1)
    content = b'\x80\x02}X\x0a\x00\x00\x00state_dict' + nested + b's.'
    torch_zip(path, content)


def _self(content: dict[str, Any]) -> None:
    content['meta']['self'] = content
    content['self'] = content


def _self_weights(content: dict[str, Any]) -> None:
    content['state_dict']['self'] = content['state_dict']


def _scale(value: float) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        for name, tensor in content['state_dict'].items():
            if tensor.is_floating_point() and not name.startswith('aug'):
                tensor.fill_(value)

    return change


def _one_value(value: float) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        for name, tensor in content['state_dict'].items():
            if name.endswith('conv1.weight'):
                tensor.view(-1)[0] = value
                return

    return change


def _first(change: Callable[[torch.Tensor], Any]) -> Any:
    """Return what replaces the first convolution's weights."""

    def act(content: dict[str, Any]) -> None:
        weights = content['state_dict']
        name = next(n for n in weights if n.endswith('conv1.weight'))
        weights[name] = change(weights[name])

    return act


def _keys(content: dict[str, Any]) -> dict[Any, Any]:
    weights = content['state_dict']
    return {**content, 'state_dict': dict(enumerate(weights.values()))}


def _tar(path: Path, marker: Path, good: Path) -> None:
    with tarfile.open(path, 'w') as archive:
        archive.add(good, 'storages')


def _other_zip(path: Path, marker: Path, good: Path) -> None:
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('readme.txt', 'hello')


def legacy_zip(path: Path, marker: Path, good: Path) -> None:
    """Write a zip of one member that is an old checkpoint."""
    buffer = io.BytesIO()
    torch.save(
        Call(os.system, _touch(marker)),
        buffer,
        _use_new_zipfile_serialization=False,
    )
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('resnet18-f37072fd.pth', buffer.getvalue())


def _drop_some(content: dict[str, Any]) -> None:
    weights = content['state_dict']
    for name in [n for n in weights if 'bbox_head' in n]:
        del weights[name]


BROKEN: dict[str, Write] = {
    'cut short': of_bytes(lambda content: content[: len(content) // 2]),
    'last byte gone': of_bytes(lambda content: content[:-1]),
    'empty': of_bytes(lambda content: b''),
    'one byte': of_bytes(lambda content: b'\x80'),
    'bits flipped': of_bytes(flip),
    'text': of_bytes(lambda content: b'version https://git-lfs.github.com'),
    'web page': of_bytes(lambda content: b'<!DOCTYPE html><html>404</html>'),
    'folder': lambda path, marker, good: path.mkdir(),
    'no such file': lambda path, marker, good: None,
    'named pipe': lambda path, marker, good: os.mkfifo(path),
    'link to itself': lambda path, marker, good: path.symlink_to(path.name),
    'tar': _tar,
    'zip of something else': _other_zip,
    'zip of an old file': legacy_zip,
    'zip bomb': lambda path, marker, good: torch_zip(path, 300, True),
    'billion laughs': _laughs,
    'nested without end': _deep,
    'weights nested without end': _deep_weights,
    'refers to itself': changed(_self),
    'weights refer to themselves': changed(_self_weights),
    'all weights NaN': changed(_scale(float('nan'))),
    'one weight NaN': changed(_one_value(float('nan'))),
    'one weight infinite': changed(_one_value(float('inf'))),
    'other shape': changed(_first(lambda t: t[:1])),
    'weights on no dimension': changed(_first(lambda t: torch.tensor(1.0))),
    'a text for a weight': changed(_first(lambda t: 'weight')),
    'a list for a weight': changed(_first(lambda t: t.flatten().tolist())),
    'none for a weight': changed(_first(lambda t: None)),
    'complex weights': changed(_first(lambda t: t.to(torch.complex64))),
    'whole numbers for weights': changed(_first(lambda t: t.to(torch.long))),
    'sparse weights': changed(_first(lambda t: t.to_sparse())),
    'weights that expand': changed(
        _first(lambda t: torch.zeros(1).expand(1 << 40))
    ),
    'head is missing': changed(_drop_some),
    'names that are numbers': changed(_keys),
    'no state dict': changed(
        lambda content: {'meta': content['meta'], 'epoch': 3}
    ),
    'state dict is empty': changed(
        lambda content: {**content, 'state_dict': {}}
    ),
    'state dict is a list': changed(
        lambda content: {**content, 'state_dict': [1, 2]}
    ),
    'state dict is None': changed(
        lambda content: {**content, 'state_dict': None}
    ),
    'a list': changed(lambda content: [content['state_dict']]),
    'a number': changed(lambda content: 3),
    'a tensor': changed(lambda content: torch.zeros(3)),
    'meta is a list': changed(lambda content: {**content, 'meta': [1]}),
    'meta is a text': changed(lambda content: {**content, 'meta': 'x'}),
}
