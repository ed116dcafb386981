"""Write cleaned copies of annotation files in COCO layout."""

from __future__ import annotations

import errno
import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmengine.config import ConfigDict

from mmtst.datasets.annotation_entries import (
    FIELDS,
    entry_problem,
    is_finite,
    judge_mask,
)
from mmtst.datasets.annotation_images import image_folder, reads_plain_files
from mmtst.datasets.annotation_reading import mask_options
from mmtst.datasets.image_files import (
    DROPPED_KINDS,
    find_reader,
    inspect_image_file,
)
from mmtst.utils.errors import ConfigError


@dataclass(frozen=True)
class Cleaning:
    """Hold a cleaned file.

    Attributes:
        content: What to write.
        changes: How many entries were dropped or changed, by what was wrong.
    """

    content: dict[str, Any]
    changes: dict[str, int]


def clean_annotations(
    content: Mapping[str, Any], dataset: ConfigDict, where: str
) -> Cleaning:
    """Return a file with what mmdet can use of it.

    Entries that are malformed, images that cannot be read or contradict
    their size, and objects without a box in their image are dropped; boxes
    are clipped to their image, areas of none or 0 become those of the boxes.
    Categories stay as they are, since their order numbers the labels.

    Args:
        content: Of the file, as :func:`read_annotations` returns it; not
            changed.
        dataset: The config of its data set. All images are looked into, if
            its pipeline reads them by ``LoadImageFromFile``; masks are
            looked at if it loads them.
        where: Its path in the config.

    Raises:
        ConfigError: A category is malformed or shares its id, so that nobody
            can tell what the labels are.
    """
    changes: Counter[str] = Counter()
    seen: set[Any] = set()
    for number, category in enumerate(content['categories']):
        problem = entry_problem(category, FIELDS['categories'])
        if problem is not None or category['id'] in seen:
            raise ConfigError(
                f'categories[{number}] is malformed or has the id of another '
                'one, and is not guessed at',
                where=f'{where}.ann_file',
                got=category,
            )
        seen.add(category['id'])
    images = _clean_images(content['images'], dataset, changes)
    annotations = _clean_objects(
        content['annotations'], images, seen, mask_options(dataset), changes
    )
    cleaned = {
        **content,
        'images': list(images.values()),
        'annotations': annotations,
    }
    return Cleaning(cleaned, dict(changes))


def write_new(content: Mapping[str, Any], path: str) -> None:
    """Write JSON to a file that is not there yet, whole or not at all.

    Args:
        content: What to write.
        path: Of the new file; its folder is made.

    Raises:
        ConfigError: There is something at the path, or it cannot be written.
    """
    partial = f'{path}.partial'
    try:
        os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
        _refuse_existing(path)
        with open(partial, 'x', encoding='utf-8') as file:
            file.write(json.dumps(content))
            file.flush()
            os.fsync(file.fileno())
        try:
            # Unlike a renaming it never replaces what came in between.
            os.link(partial, path)
            os.unlink(partial)
        except OSError:
            # Not all file systems have links.
            _refuse_existing(path)
            os.rename(partial, path)
    except OSError as error:
        raise ConfigError(
            f'the cleaned copy cannot be written: {error.strerror}',
            where='--fix',
            got=error.filename or path,
            fix='give another folder',
        ) from error


def _refuse_existing(path: str) -> None:
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)


def _clean_images(
    entries: list[Any], dataset: ConfigDict, changes: Counter[str]
) -> dict[Any, dict[str, Any]]:
    folder = image_folder(dataset)
    reader = find_reader(dataset.get('pipeline'))
    plain = reads_plain_files(dataset, folder)
    images: dict[Any, dict[str, Any]] = {}
    for entry in entries:
        if entry_problem(entry, FIELDS['images']) is not None:
            changes['malformed images'] += 1
            continue
        if entry['id'] in images:
            changes['images with the id of another one'] += 1
            continue
        path = os.path.join(folder, entry['file_name'])
        kinds: set[str] = set()
        if plain and reader is not None:
            size = (entry['width'], entry['height'])
            faults = inspect_image_file(path, size, reader)
            kinds = {fault.kind for fault in faults} & DROPPED_KINDS
        elif plain and not os.path.isfile(path):
            kinds = {'missing'}
        elif plain and os.path.getsize(path) == 0:
            kinds = {'empty'}
        if kinds:
            changes[f'images: {", ".join(sorted(kinds))}'] += 1
        else:
            images[entry['id']] = entry
    return images


def _clean_objects(
    entries: list[Any],
    images: Mapping[Any, Mapping[str, Any]],
    categories: set[Any],
    poly2mask: bool | None,
    changes: Counter[str],
) -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = []
    seen: set[Any] = set()
    numbers = (entry.get('id') for entry in entries if isinstance(entry, dict))
    free = max((n for n in numbers if type(n) is int), default=0) + 1
    for given in entries:
        entry = dict(given) if isinstance(given, dict) else given
        # The area alone can be had from the rest.
        if isinstance(entry, dict) and not is_finite(entry.get('area')):
            entry['area'] = 0
        if entry_problem(entry, FIELDS['annotations']) is not None:
            changes['malformed annotations'] += 1
            continue
        image = images.get(entry['image_id'])
        if image is None:
            changes['annotations of images that are not kept'] += 1
            continue
        if entry['category_id'] not in categories:
            changes['annotations of categories that are not there'] += 1
            continue
        box = _clip(entry['bbox'], image['width'], image['height'])
        if box is None:
            changes['objects without a box of a pixel in their image'] += 1
            continue
        size = (image['width'], image['height'])
        if poly2mask is not None and judge_mask(
            entry.get('segmentation'), size, poly2mask
        ) not in (None, 'encoded'):
            changes['objects without a usable mask'] += 1
            continue
        if box != entry['bbox']:
            changes['boxes clipped to their image'] += 1
            entry['bbox'] = box
        if entry['area'] <= 0:
            changes['areas set to that of the box'] += 1
            entry['area'] = box[2] * box[3]
        if entry['id'] in seen:
            changes['annotations given an id of their own'] += 1
            entry['id'], free = free, free + 1
        seen.add(entry['id'])
        kept.append(entry)
    return kept


def _clip(box: list[float], width: float, height: float) -> list[float] | None:
    """Return the part of a box in its image, or nothing if under a pixel.

    A box that lies inside comes back as it is, without rounding.
    """
    x, y, w, h = box
    if w < 1 or h < 1:
        return None
    if x < 0 or y < 0 or x + w > width or y + h > height:
        right, bottom = min(x + w, width), min(y + h, height)
        x, y = max(x, 0), max(y, 0)
        w, h = right - x, bottom - y
    return [x, y, w, h] if w >= 1 and h >= 1 else None
