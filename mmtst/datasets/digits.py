"""Write handwritten digits in the layout of CIFAR-100.

scikit-learn brings 1,797 digits of 8 x 8 pixels: real images, and a
classifier learns them within a minute on a CPU.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from mmtst.datasets.cifar_files import SIDE, LabelledImages, write_files
from mmtst.datasets.unfinished import begin_folder, finish_folder
from mmtst.utils.checks import check_number
from mmtst.utils.errors import ConfigError
from mmtst.utils.plain_json import read_json

DIGIT_CLASSES = (
    *('zero', 'one', 'two', 'three', 'four'),
    *('five', 'six', 'seven', 'eight', 'nine'),
)
STAMP = 'digits.json'
TEST_IMAGES_PER_CLASS = 50
# scikit-learn's highest value.
_WHITE = 16
# Goes up with every change of what is written.
_VERSION = 1


def write_digits(root: str | Path, seed: int = 0) -> bool:
    """Write the set, unless it is there already.

    1,297 images to train on, and 500 to test on, 50 of each digit. Each is
    enlarged to 32 x 32, bilinearly, and gets a light color of its own on a
    dark one, so that operators on colors have something to change; colors say
    nothing of the digit. The folder appears when all is written.

    Args:
        root: Folder to write, to be used as ``data_root``; must not exist,
            be empty, or hold the digits of the same seed.
        seed: Of the split and the colors.

    Returns:
        Whether anything was written.

    Raises:
        ConfigError: The folder holds something else, or scikit-learn is not
            installed.
    """
    check_number('seed', seed, least=0, whole=True)
    stamp = {'set': 'digits', 'version': _VERSION, 'seed': seed}
    root = Path(root).absolute()
    if _is_written(root, stamp):
        return False
    pictures, labels = _load_digits()
    images = _color(_enlarge(pictures), np.random.default_rng((seed, 1)))
    tested = _choose_tested(labels, np.random.default_rng((seed, 0)))
    part = begin_folder(root)
    write_files(
        part,
        {
            'train': LabelledImages(images[~tested], labels[~tested]),
            'test': LabelledImages(images[tested], labels[tested]),
        },
        DIGIT_CLASSES,
    )
    text = json.dumps(stamp, indent=2)
    (part / STAMP).write_text(text + '\n', encoding='utf-8')
    finish_folder(part, root)
    return True


def _load_digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return (N, 8, 8) pictures, 0 to 1, and (N,) digits."""
    try:
        datasets: Any = importlib.import_module('sklearn.datasets')
    except ImportError as error:
        raise ConfigError(
            'the digits come with scikit-learn, which is not installed',
            where='write_digits',
            got=str(error),
            fix='pip install scikit-learn',
        ) from error
    digits = datasets.load_digits()
    pictures = np.asarray(digits.images, np.float32)
    return pictures / np.float32(_WHITE), np.asarray(digits.target, np.int64)


def _enlarge(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (N, 32, 32) pictures, 0 to 1, of small ones."""
    large = interpolate(
        torch.from_numpy(pictures)[:, None],
        size=(SIDE, SIDE),
        mode='bilinear',
        align_corners=False,
    )
    result: NDArray[np.float32] = large[:, 0].numpy()
    return result


def _color(
    pictures: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Return (N, 3, H, W) images with colors of their own."""
    size = (len(pictures), 3, 1, 1)
    dark, light = rng.uniform(0, 0.25, size), rng.uniform(0.6, 1, size)
    images = dark + pictures[:, None] * (light - dark)
    return np.rint(255 * images).astype(np.uint8)


def _choose_tested(
    labels: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Return which images to test on, the same number of each digit."""
    tested = np.zeros(len(labels), bool)
    for digit in range(len(DIGIT_CLASSES)):
        members = np.flatnonzero(labels == digit)
        tested[rng.permutation(members)[:TEST_IMAGES_PER_CLASS]] = True
    return tested


def _is_written(root: Path, stamp: dict[str, Any]) -> bool:
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    found = None
    if (root / STAMP).is_file():
        found = read_json(
            root / STAMP,
            where='root',
            what='the stamp of the digits',
            fix=f'name another folder, or remove {root}',
        )
    if found != stamp:
        raise ConfigError(
            'the place for the digits holds something else',
            where='root',
            got=str(root) if found is None else found,
            allowed=f'a new or empty folder, or the digits of {stamp}',
            fix=f'name another folder, or remove {root}',
        )
    return True
