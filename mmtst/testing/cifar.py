"""Write a tiny data set in the layout of CIFAR-100."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def write_cifar100(
    root: str | Path,
    num_classes: int = 4,
    per_class: int = 8,
    test_per_class: int | None = None,
    seed: int = 0,
) -> Path:
    """Draw stripes, whose direction, width and color tell the class.

    A few steps of training find the classes. The files are those of CIFAR-100
    as its authors lay them out: ``cifar-100-python`` with ``train``, ``test``
    and ``meta``.

    Args:
        root: Where to write; made if it is not there.
        num_classes: 1 to 100, all named in ``meta``.
        per_class: Training images of each class, in random order.
        test_per_class: Test images of each class; ``None`` for as many.
        seed: Of noise, order and how the stripes lie.

    Returns:
        The root, to be used as ``data_root``.

    Raises:
        ValueError: If there are to be more classes than CIFAR-100 has.
    """
    if not 1 <= num_classes <= 100:
        raise ValueError(f'num_classes must be 1 to 100, got {num_classes}')
    folder = Path(root) / 'cifar-100-python'
    folder.mkdir(parents=True)
    counts = {'train': per_class, 'test': test_per_class or per_class}
    for number, (split, count) in enumerate(counts.items()):
        rng = np.random.default_rng((seed, number))
        labels = rng.permutation(np.repeat(np.arange(num_classes), count))
        images = [_draw(rng, int(label)) for label in labels]
        content = {b'data': np.stack(images), b'fine_labels': labels.tolist()}
        _write(folder / split, content)
    names = [f'class{i:02d}'.encode() for i in range(num_classes)]
    _write(folder / 'meta', {b'fine_label_names': names})
    return Path(root)


def _draw(rng: np.random.Generator, label: int) -> NDArray[np.uint8]:
    """Return (3072,) values of one image."""
    # Of a class: one of 5 colors, 4 directions and 5 widths.
    color = np.random.default_rng(label % 5).uniform(0.3, 1, (3, 1, 1))
    angle = np.pi * (label // 5 % 4) / 4
    width = 3 + 2 * (label // 20)
    y, x = np.mgrid[:32, :32]
    along = x * np.cos(angle) + y * np.sin(angle) + rng.uniform(0, 32)
    bright = 140 + 70 * np.sin(np.pi * along / width)
    image = color * bright + rng.normal(0, 10, (3, 32, 32))
    values: NDArray[np.uint8] = np.clip(image, 0, 255).astype(np.uint8)
    return values.reshape(-1)


def _write(path: Path, content: dict[bytes, Any]) -> None:
    path.write_bytes(pickle.dumps(content, protocol=2))
