"""Write a tiny data set in COCO's own folders, with its 80 categories."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmdet.datasets import CocoDataset


def write_tiny_coco(
    root: Path,
    images: Mapping[str, int],
    size: tuple[int, int] = (128, 96),
    objects: int = 3,
    seed: int = 0,
    corner: tuple[int, int] = (0, 0),
    masks: bool = False,
) -> Path:
    """Draw bright rectangles on dark noise.

    Args:
        root: Where to write; made if it is not there.
        images: How many images of each split (``train2017``, ``val2017``).
        size: (width, height) of the images, in pixels, at least (96, 96)
            beyond the corner.
        objects: How many rectangles in each, 24 to 36 pixels a side; they
            may overlap.
        seed: Of the drawing.
        corner: (x, y) in pixels; all upper left corners of the rectangles
            lie less than 60 pixels to the right of it and below it.
        masks: Whether the rectangles' outlines are written too.

    Returns:
        The root, to be used as ``data_root``.
    """
    width, height = size
    categories = [
        dict(id=3 * i + 1, name=name)  # With gaps, as COCO's own have.
        for i, name in enumerate(CocoDataset.METAINFO['classes'])
    ]
    rng = np.random.default_rng(seed)
    (root / 'annotations').mkdir(parents=True)
    for split, number in images.items():
        (root / split).mkdir()
        files: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for i in range(1, number + 1):
            file = f'{i:012d}.png'
            picture = rng.integers(0, 60, (height, width, 3), np.uint8)
            for _ in range(objects):
                x, y = (rng.integers(0, 60, 2) + corner).tolist()
                w, h = rng.integers(24, 36, 2).tolist()
                # Blue, green, red: far apart, so that their order shows.
                picture[y : y + h, x : x + w] = (250, 180, 120)
                annotation = dict(
                    id=len(annotations) + 1,
                    image_id=i,
                    category_id=categories[int(rng.integers(80))]['id'],
                    bbox=[x, y, w, h],
                    area=w * h,
                    iscrowd=0,
                )
                if masks:
                    outline = [x, y, x + w, y, x + w, y + h, x, y + h]
                    annotation['segmentation'] = [outline]
                annotations.append(annotation)
            cv2.imwrite(str(root / split / file), picture)
            files.append(
                dict(id=i, file_name=file, width=width, height=height)
            )
        content = dict(
            images=files, annotations=annotations, categories=categories
        )
        path = root / 'annotations' / f'instances_{split}.json'
        path.write_text(json.dumps(content))
    return root
