"""Write a tiny data set in Cityscapes' own folders, with its 19 classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from mmseg.datasets import CityscapesDataset
from numpy.typing import NDArray

CITIES = {'train': 'aachen', 'val': 'frankfurt'}
IGNORED = 255
# Ids of the raw label maps; the place of each is its train id.
LABEL_IDS = (
    *(7, 8, 11, 12, 13, 17, 19, 20, 21, 22),
    *(23, 24, 25, 26, 27, 28, 31, 32, 33),
)
# "unlabeled" of the raw label maps.
UNLABELED = 0
_MIN_SIDE = 16


def write_tiny_cityscapes(
    root: Path,
    images: Mapping[str, int],
    size: tuple[int, int] = (128, 64),
    objects: int = 4,
    seed: int = 0,
) -> Path:
    """Draw a road, a sky and rectangles, each class in its palette's color.

    The names are those of the real set: of each image the raw label map
    (``labelIds``) and the one that is trained on (``labelTrainIds``). A strip
    at the bottom is ignored, as is the car's bonnet there.

    Args:
        root: Where to write; made if it is not there.
        images: How many images of each split (``train``, ``val``).
        size: (width, height) of the images, in pixels, at least 16 each.
        objects: How many rectangles in each, of random classes; they may
            overlap.
        seed: Of the drawing.

    Returns:
        The root, to be used as ``data_root``.

    Raises:
        ValueError: If the images would be too small.
    """
    width, height = size
    if min(size) < _MIN_SIDE:
        raise ValueError(f'size must be at least {_MIN_SIDE}, got {size}')
    rng = np.random.default_rng(seed)
    for split, number in images.items():
        city = CITIES[split]
        pictures = root / 'leftImg8bit' / split / city
        maps = root / 'gtFine' / split / city
        pictures.mkdir(parents=True)
        maps.mkdir(parents=True)
        for i in range(number):
            labels = _draw_labels(rng, width, height, objects)
            stem = f'{city}_{i:06d}_000019'
            _write(pictures / f'{stem}_leftImg8bit.png', _paint(rng, labels))
            _write(maps / f'{stem}_gtFine_labelTrainIds.png', labels)
            raw = np.full(256, UNLABELED, np.uint8)
            raw[: len(LABEL_IDS)] = LABEL_IDS
            _write(maps / f'{stem}_gtFine_labelIds.png', raw[labels])
    return root


def _draw_labels(
    rng: np.random.Generator, width: int, height: int, objects: int
) -> NDArray[np.uint8]:
    """Return (height, width) train ids."""
    classes = CityscapesDataset.METAINFO['classes']
    labels = np.full((height, width), classes.index('road'), np.uint8)
    labels[: height // 2] = classes.index('sky')
    for _ in range(objects):
        w = int(rng.integers(width // 6, width // 3))
        h = int(rng.integers(height // 4, height // 2))
        x = int(rng.integers(0, width - w))
        y = int(rng.integers(0, height - h))
        labels[y : y + h, x : x + w] = rng.integers(len(classes))
    labels[height - height // 16 :] = IGNORED
    return labels


def _paint(
    rng: np.random.Generator, labels: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Return a BGR picture in which each class has its color, with noise."""
    colors = np.zeros((256, 3), np.int64)
    palette = CityscapesDataset.METAINFO['palette']
    colors[: len(palette)] = palette
    noise = rng.integers(-12, 13, (*labels.shape, 3))
    picture = np.clip(colors[labels] + noise, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(picture[..., ::-1])


def _write(path: Path, image: NDArray[np.uint8]) -> None:
    if not cv2.imwrite(str(path), image):
        raise OSError(f'could not write {path}')
