"""Look into annotation files before a training starts."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config, ConfigDict

from mmtst.datasets.data_paths import SUBSETS, is_remote, iter_datasets
from mmtst.utils.errors import ConfigError

COCO_TYPES = ('CocoDataset', 'mmdet.CocoDataset')
_KEYS = ('images', 'annotations', 'categories')


def check_annotations(
    cfg: Config, subsets: tuple[str, ...] = SUBSETS
) -> dict[str, int]:
    """Check the COCO files that a config names.

    mmdet meets a malformed file with a ``KeyError``, unknown classes with an
    empty data set, and a missing image hours later in a worker.

    Args:
        cfg: The config; data sets of other types are passed over.
        subsets: Which of ``train``, ``val``, ``test`` will be read.

    Returns:
        The number of images that have an object, by the data set's path in
        the config.

    Raises:
        ConfigError: A file is not JSON, not in COCO layout, empty, without
            an object of the data set's classes, or names a missing image.
    """
    counts: dict[str, int] = {}
    for where, dataset in iter_datasets(cfg, subsets):
        if dataset.get('type') in COCO_TYPES and not is_remote(dataset):
            counts[where] = _check_coco(dataset, where)
    return counts


def _check_coco(dataset: ConfigDict, where: str) -> int:
    root = str(dataset.get('data_root') or '')
    path = os.path.join(root, str(dataset.get('ann_file', '')))
    content = _read(path, f'{where}.ann_file')
    names = {c.get('name'): c.get('id') for c in content['categories']}
    classes = (dataset.get('metainfo') or {}).get('classes')
    wanted = tuple(names) if classes is None else tuple(classes)
    ids = {names[name] for name in wanted if name in names}
    if not ids:
        raise ConfigError(
            'no class of the data set is in the annotation file',
            where=f'{where}.metainfo.classes',
            got=wanted,
            allowed=', '.join(map(str, names)),
            fix="name the file's categories in metainfo.classes",
        )
    known = {image['id']: image['file_name'] for image in content['images']}
    with_objects = set()
    for annotation in content['annotations']:
        if annotation.get('image_id') not in known:
            raise ConfigError(
                'an annotation belongs to no image of the file',
                where=f'{where}.ann_file',
                got=f'annotation {annotation.get("id")} of image '
                f'{annotation.get("image_id")} in {path}',
            )
        if annotation.get('category_id') in ids:
            with_objects.add(annotation['image_id'])
    if not with_objects:
        raise ConfigError(
            'the annotation file has no object of the classes',
            where=f'{where}.ann_file',
            got=f'{path}: {len(known)} images, '
            f'{len(content["annotations"])} annotations',
        )
    folder = os.path.join(
        root, str((dataset.get('data_prefix') or {}).get('img', ''))
    )
    missing = [
        name
        for name in known.values()
        if not os.path.isfile(os.path.join(folder, name))
    ]
    if missing:
        raise ConfigError(
            f'{len(missing)} of {len(known)} images are not there',
            where=f'{where}.data_prefix.img',
            got=os.path.join(folder, missing[0]),
            fix='check data_prefix and the layout under the data root',
        )
    return len(with_objects)


def _read(path: str, where: str) -> dict[str, Any]:
    try:
        with open(path, encoding='utf-8') as file:
            content = json.load(file)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f'the annotation file is not JSON: {error}',
            where=where,
            got=path,
        ) from error
    if not isinstance(content, Mapping) or any(
        not isinstance(content.get(key), list) for key in _KEYS
    ):
        raise ConfigError(
            'the annotation file is not in COCO layout',
            where=where,
            got=path,
            allowed=f'an object with the lists {", ".join(_KEYS)}',
        )
    if not content['images']:
        raise ConfigError(
            'the annotation file has no images', where=where, got=path
        )
    return dict(content)
