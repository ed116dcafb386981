"""Look into annotation files before a training starts."""

from __future__ import annotations

import json
import math
import os
import reprlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from mmengine.config import Config, ConfigDict

from mmtst.datasets.data_paths import SUBSETS, is_remote, iter_datasets
from mmtst.utils.errors import ConfigError

COCO_TYPES = ('CocoDataset', 'mmdet.CocoDataset')
# What mmdet and pycocotools read of each entry without asking.
_FIELDS = {
    'images': ('id', 'file_name', 'height', 'width'),
    'annotations': ('id', 'image_id', 'category_id', 'bbox', 'area'),
    'categories': ('id', 'name'),
}
_NUMBERS = frozenset(('height', 'width', 'area'))
_NAMES = frozenset(('file_name', 'name'))
_SHOWN = 3


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
        ConfigError: A file is not JSON, not in COCO layout, has a malformed
            entry, is empty, without an object of the data set's classes, or
            names a missing or empty image.
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
    for key in _FIELDS:
        _check_entries(content[key], key, path, f'{where}.ann_file')
    names = {c['name']: c['id'] for c in content['categories']}
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
        if annotation['image_id'] not in known:
            raise ConfigError(
                'an annotation belongs to no image of the file',
                where=f'{where}.ann_file',
                got=f'annotation {annotation["id"]} of image '
                f'{annotation["image_id"]} in {path}',
            )
        if annotation['category_id'] in ids:
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
    if _reads_plain_files(dataset, folder):
        _check_images(folder, known.values(), f'{where}.data_prefix.img')
    return len(with_objects)


def _check_entries(
    entries: list[Any], key: str, path: str, where: str
) -> None:
    """Check one list of a file; errors count its entries from 0."""
    fields = _FIELDS[key]
    seen = set()
    for number, entry in enumerate(entries):
        problem = _problem(entry, fields)
        if problem is None and entry['id'] in seen:
            problem = f'has the id {entry["id"]!r} of another one'
        if problem is not None:
            raise ConfigError(
                f'{key}[{number}] of the annotation file {problem}',
                where=where,
                got=path,
                allowed=f'entries of {key} with {", ".join(fields)}',
            )
        seen.add(entry['id'])


def _problem(entry: Any, fields: tuple[str, ...]) -> str | None:
    """Say what is wrong with an entry, as the end of a sentence."""
    if not isinstance(entry, dict):
        return f'is not an object: {reprlib.repr(entry)}'
    for field in fields:
        if field not in entry:
            return f'has no {field}'
        value = entry[field]
        if field == 'bbox':
            good = (
                isinstance(value, list)
                and len(value) == 4
                and all(map(_is_finite, value))
            )
            kind = '4 finite numbers'
        elif field in _NUMBERS:
            good, kind = _is_finite(value), 'a finite number'
        elif field in _NAMES:
            good, kind = isinstance(value, str) and value != '', 'a name'
        else:
            good, kind = isinstance(value, (int, float, str)), 'an id'
        if not good:
            return f'has a {field} that is not {kind}: {reprlib.repr(value)}'
    return None


def _is_finite(value: Any) -> bool:
    # JSON has true and false, which Python takes for numbers.
    kind = type(value)
    return kind is int or (kind is float and math.isfinite(value))


def _reads_plain_files(dataset: ConfigDict, folder: str) -> bool:
    """Tell whether images are files of their own below a local folder."""
    for step in dataset.get('pipeline') or ():
        if isinstance(step, Mapping) and is_remote(step):
            return False
    # An archive stands where a folder would.
    return '://' not in folder and not os.path.isfile(folder.rstrip('/'))


def _check_images(folder: str, names: Iterable[str], where: str) -> None:
    """Look for images that are missing or have no bytes.

    Each folder is listed once: on a network drive that is far less than one
    question for each file, and what it tells of the files comes along.
    """
    by_folder: dict[str, set[str]] = defaultdict(set)
    count = 0
    for name in names:
        head, tail = os.path.split(name)
        by_folder[head].add(tail)
        count += 1
    missing: list[str] = []
    empty: list[str] = []
    for head, tails in by_folder.items():
        place = os.path.join(folder, head)
        sizes = _file_sizes(place, tails)
        for tail in sorted(tails):
            # Spelled otherwise than listed, it may still be found: not all
            # file systems tell a from A.
            path = os.path.join(place, tail)
            size = sizes[tail] if tail in sizes else _file_size(path)
            if size is None:
                missing.append(path)
            elif size == 0:
                empty.append(path)
    for paths, what, fix in (
        (
            missing,
            'not there',
            'check data_prefix and the layout under the data root',
        ),
        (
            empty,
            'empty files',
            'copy or download them again, or take them out of the '
            'annotation file',
        ),
    ):
        if paths:
            more = [f'{len(paths) - _SHOWN} more'] * (len(paths) > _SHOWN)
            raise ConfigError(
                f'{len(paths)} of {count} images are {what}',
                where=where,
                got=paths[:_SHOWN] + more,
                fix=fix,
            )


def _file_sizes(folder: str, names: set[str]) -> dict[str, int]:
    try:
        with os.scandir(folder) as entries:
            return {
                entry.name: entry.stat().st_size
                for entry in entries
                if entry.name in names and entry.is_file()
            }
    except OSError:
        # Not there, or not to be listed: then each file is asked for.
        return {}


def _file_size(path: str) -> int | None:
    return os.path.getsize(path) if os.path.isfile(path) else None


def _read(path: str, where: str) -> dict[str, Any]:
    try:
        with open(path, encoding='utf-8') as file:
            content = json.load(file)
    except OSError as error:
        raise ConfigError(
            f'the annotation file cannot be read: {error.strerror}',
            where=where,
            got=path,
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f'the annotation file is not JSON: {error}',
            where=where,
            got=path,
        ) from error
    if not isinstance(content, Mapping) or any(
        not isinstance(content.get(key), list) for key in _FIELDS
    ):
        raise ConfigError(
            'the annotation file is not in COCO layout',
            where=where,
            got=path,
            allowed=f'an object with the lists {", ".join(_FIELDS)}',
        )
    if not content['images']:
        raise ConfigError(
            'the annotation file has no images', where=where, got=path
        )
    return dict(content)
