"""Read and write the files of CIFAR-100, as its authors lay them out.

``cifar-100-python/train`` and ``test`` are pickles of ``{b'data': (N, 3072)
uint8, b'fine_labels': [N numbers]}``, an image's 1024 red values first, then
green and blue, row by row; ``meta`` has ``{b'fine_label_names': [names]}``.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmtst.utils.errors import ConfigError
from mmtst.utils.plain_pickle import read_plain_pickle

FOLDER = 'cifar-100-python'
SPLITS = ('train', 'test')
SIDE = 32
_PIXELS = 3 * SIDE * SIDE
_FIX = (
    'give the folder that holds cifar-100-python (with train, test and meta, '
    'as in the archive "CIFAR-100 python version") with --data-root DIR, as '
    'data_root, or in the environment variable that the config reads; '
    'nothing is downloaded'
)


class LabelledImages(NamedTuple):
    """Hold images of one size and what is on them.

    Attributes:
        images: (N, 3, 32, 32), uint8, RGB.
        labels: (N,), int64, indices of classes.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


def read_classes(root: Any, where: str) -> tuple[str, ...]:
    """Read the names of the classes.

    Args:
        root: Folder that holds ``cifar-100-python``.
        where: Path of the data set in the config, for error messages.

    Raises:
        ConfigError: The folder or ``meta`` is not there, or is not as it is
            to be.
    """
    path = _find(root, 'meta', where)
    names = _entry(_read(path, where), 'fine_label_names', path, where)
    if isinstance(names, list):
        names = [_text(name) for name in names]
    good = (
        isinstance(names, list)
        and len(names) > 0
        and all(isinstance(name, str) and name for name in names)
        and len(set(names)) == len(names)
    )
    if not good:
        raise _misfit(
            'fine_label_names is no list of different names',
            path,
            f'{names!r:.80}',
            'a list of texts',
            where,
        )
    return tuple(names)


def read_split(
    root: Any, split: str, num_classes: int, where: str
) -> LabelledImages:
    """Read the images and labels of a split.

    Args:
        root: Folder that holds ``cifar-100-python``.
        split: ``train`` or ``test``.
        num_classes: How many classes ``meta`` names.
        where: Path of the data set in the config, for error messages.

    Raises:
        ConfigError: The file is not there, cut short, asks for code to be
            run, or is not as it is to be.
    """
    path = _find(root, split, where)
    content = _read(path, where)
    images = _entry(content, 'data', path, where)
    good = (
        isinstance(images, np.ndarray)
        and images.dtype == np.uint8
        and images.ndim == 2
        and images.shape[1] == _PIXELS
        and len(images) > 0
    )
    if not good:
        raise _misfit(
            'data is no array of images',
            path,
            _describe(images),
            f'uint8 of shape (N, {_PIXELS}), N at least 1',
            where,
        )
    found = _entry(content, 'fine_labels', path, where)
    try:
        labels = np.asarray(found)
    except ValueError:  # lists of unequal lengths
        labels = np.asarray(None)
    if labels.dtype.kind not in 'iu' or labels.shape != (len(images),):
        raise _misfit(
            'fine_labels has not one number for each image',
            path,
            _describe(found),
            f'{len(images)} whole numbers, as many as there are images',
            where,
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        raise _misfit(
            'a label is out of range',
            path,
            f'labels from {low} to {high}',
            f'0 to {num_classes - 1}: meta names {num_classes} classes',
            where,
        )
    return LabelledImages(
        images.reshape(-1, 3, SIDE, SIDE), labels.astype(np.int64)
    )


def write_files(
    root: Path, splits: Mapping[str, LabelledImages], classes: Sequence[str]
) -> None:
    """Write a set in the layout of CIFAR-100.

    Args:
        root: Folder to write ``cifar-100-python`` into; made if it is not
            there.
        splits: ``train`` and ``test``.
        classes: Names of the classes.
    """
    folder = root / FOLDER
    folder.mkdir(parents=True)
    contents: dict[str, dict[bytes, Any]] = {
        split: {
            b'data': images.reshape(len(images), _PIXELS),
            b'fine_labels': labels.tolist(),
        }
        for split, (images, labels) in splits.items()
    }
    contents['meta'] = {
        b'fine_label_names': [name.encode() for name in classes]
    }
    for name, content in contents.items():
        # A fixed protocol: the same bytes from every version of Python.
        (folder / name).write_bytes(pickle.dumps(content, protocol=4))


def _find(root: Any, name: str, where: str) -> Path:
    if not isinstance(root, (str, Path)) or not str(root):
        raise ConfigError(
            'the data root is no folder',
            where=f'{where}.data_root',
            got=root,
            fix=_FIX,
        )
    folder = Path(root).expanduser() / FOLDER
    for path, what in (
        (Path(root).expanduser(), 'the data root is not there'),
        (folder, 'the data root holds no cifar-100-python'),
        (folder / name, f'the data set has no file {name}'),
    ):
        if not path.exists():
            raise ConfigError(
                what, where=f'{where}.data_root', got=str(path), fix=_FIX
            )
    return folder / name


def _read(path: Path, where: str) -> dict[Any, Any]:
    try:
        content = read_plain_pickle(path)
    except OSError as error:
        raise ConfigError(
            f'a file of the data set cannot be read: {error.strerror}',
            where=f'{where}.data_root',
            got=str(path),
            fix=_FIX,
        ) from error
    except UnpicklingError as error:
        raise ConfigError(
            f'a file of the data set is not read: {error}',
            where=f'{where}.data_root',
            got=str(path),
            allowed='a whole pickle of arrays and plain values',
            fix='unpack the archive again',
        ) from error
    if not isinstance(content, dict):
        raise _misfit(
            'it holds no dictionary',
            path,
            type(content).__name__,
            "a file of CIFAR-100's Python version",
            where,
        )
    return content


def _entry(content: dict[Any, Any], name: str, path: Path, where: str) -> Any:
    """Return an entry, whose name is ``bytes`` in the original files."""
    for key in (name.encode(), name):
        if key in content:
            return content[key]
    known = ', '.join(str(_text(key)) for key in list(content)[:6])
    raise _misfit(
        f'it has no {name}',
        path,
        f'the entries {known}' if known else 'nothing',
        "a file of CIFAR-100's Python version (CIFAR-10's is another)",
        where,
    )


def _misfit(
    what: str, path: Path, got: str, allowed: str, where: str
) -> ConfigError:
    return ConfigError(
        f'a file of the data set does not fit: {what}',
        where=f'{where}.data_root',
        got=f'{path}: {got}',
        allowed=allowed,
        fix=_FIX,
    )


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode('utf-8', 'replace')
    return value


def _describe(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f'{value.dtype} of shape {value.shape}'
    if isinstance(value, list):
        return f'a list of {len(value)}, {value[:4]!r:.60} first'
    return type(value).__name__
