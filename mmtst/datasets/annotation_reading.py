"""Read annotation files in COCO layout, and find them in configs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from mmengine.config import ConfigDict

from mmtst.datasets.annotation_entries import FIELDS
from mmtst.datasets.data_paths import is_remote, type_name
from mmtst.utils.errors import ConfigError
from mmtst.utils.plain_json import (
    MEBIBYTE,
    PlainJsonError,
    parse_json,
    read_bounded,
)

COCO_TYPES = ('CocoDataset', 'mmdet.CocoDataset')
_MOST_BYTES = (16 << 10) * MEBIBYTE


def is_coco(dataset: ConfigDict) -> bool:
    """Tell whether a data set is mmdet's COCO one, in local files."""
    return (
        type_name(dataset) in COCO_TYPES
        and not is_remote(dataset)
        and '://' not in str(dataset.get('ann_file'))
    )


def annotation_path(dataset: ConfigDict) -> str:
    """Return the annotation file of a data set."""
    root = str(dataset.get('data_root') or '')
    return os.path.join(root, str(dataset.get('ann_file', '')))


def read_annotations(path: str, where: str) -> dict[str, Any]:
    """Read a file in COCO layout; its entries are not looked at.

    Args:
        path: Of the file.
        where: Path in the config of what names it.

    Raises:
        ConfigError: It cannot be read, is no JSON within bounds, has not the
            three lists, or no images.
    """
    what = 'the annotation file'
    data = read_bounded(path, where=where, what=what, most_bytes=_MOST_BYTES)
    try:
        # pycocotools opens it as text; of a mark at its head it makes an
        # error, and so does the reader of a text.
        # Entries are looked at one by one, so that the bound on nesting that
        # takes a walk over all of them is left out.
        content = parse_json(str(data, 'utf-8'), depth=None, finite=False)
    except (PlainJsonError, UnicodeDecodeError) as error:
        raise ConfigError(
            f'{what} is not JSON that can be read: {error}',
            where=where,
            got=path,
        ) from error
    if not isinstance(content, Mapping) or any(
        not isinstance(content.get(key), list) for key in FIELDS
    ):
        raise ConfigError(
            f'{what} is not in COCO layout',
            where=where,
            got=path,
            allowed=f'an object with the lists {", ".join(FIELDS)}',
        )
    if not content['images']:
        raise ConfigError(f'{what} has no images', where=where, got=path)
    return dict(content)


def mask_options(dataset: ConfigDict) -> bool | None:
    """Return ``poly2mask`` of a pipeline, ``None`` if it loads no masks."""
    for step in dataset.get('pipeline') or ():
        name = type_name(step) if isinstance(step, Mapping) else ''
        if name.endswith('LoadAnnotations') and step.get('with_mask'):
            return bool(step.get('poly2mask', True))
    return None
