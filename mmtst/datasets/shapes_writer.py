"""Write the shapes set to disk, in COCO and in Cityscapes layout."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from mmtst.datasets.shapes import (
    MIN_SIZE,
    SHAPE_CLASSES,
    Scene,
    SceneObject,
    draw_scene,
)
from mmtst.datasets.unfinished import begin_folder, finish_folder
from mmtst.utils.checks import check_choice, check_number
from mmtst.utils.errors import ConfigError
from mmtst.utils.plain_json import read_json
from mmtst.utils.writing import writing

LAYOUTS = ('both', 'coco', 'cityscapes')
SPLITS = ('train', 'val')
STAMP = 'shapes.json'
CITY = 'shapeville'

# Goes up with every change of the drawing, so that old data is noticed.
_VERSION = 2


@dataclass(frozen=True)
class ShapesSettings:
    """Say what to write; the same settings give the same bytes.

    Image i of a split depends on the seed, the split and i alone, so a
    larger set begins with the smaller one.

    Attributes:
        num_train: Number of training images.
        num_val: Number of validation images.
        size: Side of the square images, in pixels; at least 32.
        seed: Not negative.
        layout: ``coco``, ``cityscapes`` or ``both``.
    """

    num_train: int = 600
    num_val: int = 200
    size: int = 160
    seed: int = 0
    layout: str = 'both'

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: A value is out of its range.
        """
        lowest = {'num_train': 1, 'num_val': 1, 'size': MIN_SIZE, 'seed': 0}
        for name, low in lowest.items():
            check_number(name, getattr(self, name), least=low, whole=True)
        check_choice('layout', self.layout, LAYOUTS)

    def stamp(self) -> dict[str, Any]:
        """Return what is written beside the data to know it again."""
        return {'version': _VERSION, **asdict(self)}


def write_shapes(
    out: str | Path,
    settings: ShapesSettings | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> bool:
    """Write the set, unless it is there already.

    The files appear under their final name only when all are written; an
    interrupted run leaves a folder beside it that the next run clears.

    Args:
        out: Folder to write; must not exist, be empty, or hold a shapes set
            of the same settings.
        settings: What to write; ``None`` for the defaults.
        progress: Called with (images done, images in all).

    Returns:
        Whether anything was written.

    Raises:
        ConfigError: The folder holds something else.
    """
    settings = settings or ShapesSettings()
    out = Path(out).absolute()
    if _is_written(out, settings):
        return False
    part = begin_folder(out)
    total = settings.num_train + settings.num_val
    done = 0
    for split, count in zip(
        SPLITS, (settings.num_train, settings.num_val), strict=True
    ):
        writers: list[_CocoWriter | _CityscapesWriter] = []
        if settings.layout in ('both', 'coco'):
            writers.append(_CocoWriter(part, split))
        if settings.layout in ('both', 'cityscapes'):
            writers.append(_CityscapesWriter(part, split))
        for index in range(count):
            seed = (settings.seed, SPLITS.index(split), index)
            scene = draw_scene(np.random.default_rng(seed), settings.size)
            for writer in writers:
                writer.add(index, scene)
            done += 1
            if progress is not None:
                progress(done, total)
        for writer in writers:
            writer.close()
    _write_json(part / STAMP, settings.stamp(), indent=2)
    finish_folder(part, out)
    return True


def _is_written(out: Path, settings: ShapesSettings) -> bool:
    if not out.exists():
        return False
    if not out.is_dir():
        raise ConfigError(
            'the place for the shapes set is a file',
            where='out',
            got=str(out),
            fix='name a folder',
        )
    if not any(out.iterdir()):
        return False
    another = f'name another folder, or remove {out}'
    stamp = out / STAMP
    if not stamp.exists():
        raise ConfigError(
            'the folder for the shapes set holds other files',
            where='out',
            got=str(out),
            allowed='a new or empty folder, or a shapes set',
            fix=another,
        )
    found = read_json(
        stamp, where='out', what='the stamp of the shapes set', fix=another
    )
    if found != settings.stamp():
        raise ConfigError(
            'the folder holds a shapes set of other settings',
            where='out',
            got=found,
            allowed=str(settings.stamp()),
            fix=another,
        )
    return True


class _CocoWriter:
    """Write images and instances as COCO does.

    An annotation is a polygon where the object is whole, run lengths where
    it is covered in part or cut by the edge of the image.
    """

    def __init__(self, root: Path, split: str) -> None:
        self._folder = root / split
        self._folder.mkdir()
        self._file = root / 'annotations' / f'instances_{split}.json'
        self._file.parent.mkdir(exist_ok=True)
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def add(self, index: int, scene: Scene) -> None:
        name = f'{index:06d}.jpg'
        _write_image(self._folder / name, scene.image)
        height, width = scene.image.shape[:2]
        self._images.append(
            {'id': index, 'file_name': name, 'height': height, 'width': width}
        )
        for item in scene.objects:
            x1, y1, x2, y2 = item.box
            self._annotations.append(
                {
                    'id': len(self._annotations) + 1,
                    'image_id': index,
                    # A crowd needs a category: it is counted with none.
                    'category_id': 1 + max(item.label, 0),
                    'bbox': [x1, y1, x2 - x1, y2 - y1],
                    'area': int(item.visible.sum()),
                    'iscrowd': int(item.is_crowd),
                    'segmentation': _segmentation(item),
                }
            )

    def close(self) -> None:
        categories = [
            {'id': 1 + label, 'name': name, 'supercategory': 'shape'}
            for label, name in enumerate(SHAPE_CLASSES)
        ]
        _write_json(
            self._file,
            {
                'info': {'description': 'mmtst shapes', 'version': _VERSION},
                'licenses': [],
                'images': self._images,
                'annotations': self._annotations,
                'categories': categories,
            },
        )


class _CityscapesWriter:
    """Write images and train ids as Cityscapes does.

    Train id 0 is the background, 1 + i class i, 255 ignored.
    """

    def __init__(self, root: Path, split: str) -> None:
        self._images = root / 'leftImg8bit' / split / CITY
        self._labels = root / 'gtFine' / split / CITY
        self._images.mkdir(parents=True)
        self._labels.mkdir(parents=True)

    def add(self, index: int, scene: Scene) -> None:
        stem = f'{CITY}_{index:06d}_000000'
        _write_image(self._images / f'{stem}_leftImg8bit.png', scene.image)
        _write_image(
            self._labels / f'{stem}_gtFine_labelTrainIds.png',
            scene.label_map(),
        )

    def close(self) -> None:
        """Do nothing: there is no index file in this layout."""


def _segmentation(item: SceneObject) -> list[list[float]] | dict[str, Any]:
    if item.polygon is not None and item.is_whole:
        return [[round(float(v), 2) for v in item.polygon.reshape(-1)]]
    runs = coco_mask.encode(np.asfortranarray(item.visible.astype(np.uint8)))
    return {
        'size': [int(side) for side in runs['size']],
        'counts': runs['counts'].decode('ascii'),
    }


def _write_image(path: Path, image: NDArray[np.uint8]) -> None:
    """Write RGB or gray; the suffix chooses the format."""
    if image.ndim == 3:
        image = np.ascontiguousarray(image[..., ::-1])
    options = {
        '.jpg': [cv2.IMWRITE_JPEG_QUALITY, 95],
        '.png': [cv2.IMWRITE_PNG_COMPRESSION, 1],
    }
    good, data = cv2.imencode(path.suffix, image, options[path.suffix])
    if not good:
        raise OSError(f'could not encode {path}')
    with writing(path):
        path.write_bytes(data.tobytes())


def _write_json(
    path: Path, content: object, indent: int | None = None
) -> None:
    text = json.dumps(content, indent=indent)
    path.write_text(text + '\n', encoding='utf-8')
