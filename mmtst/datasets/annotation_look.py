"""Look at one annotation file as mmdet's data set will read it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from mmengine.config import ConfigDict
from mmengine.fileio import list_from_file

from mmtst.datasets.annotation_entries import (
    FIELDS,
    are_well_formed,
    count_kinds,
    entry_problem,
    judge_boxes,
    judge_mask,
)
from mmtst.datasets.annotation_images import look_at_images
from mmtst.datasets.annotation_reading import (
    annotation_path,
    mask_options,
    read_annotations,
)
from mmtst.datasets.findings import MOST_FAULTY_OBJECTS, Finding
from mmtst.datasets.image_files import spread
from mmtst.utils.errors import ConfigError

# Of encoded masks, which are slow to read.
_MOST_MASKS = 2000
FIX_HINT = (
    'mend the file, or write a cleaned copy: tools/check_data.py CONFIG '
    '--fix FOLDER'
)
_DROPPED = {
    'small': 'have a box of under one pixel',
    'outside': 'lie wholly outside of their image',
    'no area': 'have an area of 0 or less',
    'points': 'have a mask without a polygon of three points',
    'encoded': 'have run lengths as a mask, which poly2mask=False ignores',
}
_BROKEN_MASKS = {
    'missing': ('have no mask', 'leave out with_mask=True, or add the masks'),
    'malformed': ('have a mask that is no list of polygons', FIX_HINT),
    'far': (
        'have a mask with coordinates that are not finite or far off',
        FIX_HINT,
    ),
    'runs': (
        "have run lengths that do not fill their image's size",
        FIX_HINT,
    ),
}


@dataclass
class Look:
    """Collect what is found in one data set.

    Attributes:
        dataset: Its config.
        where: Its path in the config.
        path: Of the annotation file.
        every: Whether to look into all images and encoded masks.
        findings: The worst first.
        used: Number of objects that a training uses.
        with_objects: Number of images with such an object.
        readable: Whether the entries are such that objects could be counted.
        reasons: Why objects are not used.
        labels: Name of the category of each label.
    """

    dataset: ConfigDict
    where: str
    path: str
    every: bool = False
    findings: list[Finding] = field(default_factory=list)
    used: int = 0
    with_objects: int = 0
    readable: bool = False
    reasons: list[str] = field(default_factory=list)
    labels: tuple[str, ...] = ()

    def add(self, what: str, **more: Any) -> None:
        """Add a finding, by default at the annotation file."""
        where = more.pop('where', f'{self.where}.ann_file')
        self.findings.append(Finding(what, where, self.path, **more))


def look_at_annotations(dataset: ConfigDict, where: str, every: bool) -> Look:
    """Look at the annotation file of a data set, and at its images.

    Args:
        dataset: The config of a COCO data set in local files.
        where: Its path in the config.
        every: Whether to look into all images instead of a sample.
    """
    look = Look(dataset, where, annotation_path(dataset), every)
    try:
        content = read_annotations(look.path, f'{where}.ann_file')
    except ConfigError as error:
        # Its own lines say all; the rest of the file is not to be had.
        look.findings.append(
            Finding.from_error(error, f'{where}.ann_file', look.path)
        )
        return look
    entries = {key: _good_entries(look, content[key], key) for key in FIELDS}
    ids = _look_at_classes(look, entries)
    if ids is not None:
        used = _look_at_objects(look, entries, ids)
        _look_at_filter(look, entries, ids)
        look.with_objects = len(used)
    look.findings += look_at_images(
        dataset, f'{where}.data_prefix.img', entries['images'], every
    )
    return look


def _good_entries(
    look: Look, entries: list[Any], key: str
) -> list[dict[str, Any]]:
    """Return the entries that can be used, and name the others."""
    if are_well_formed(entries, key):
        return entries
    fields = FIELDS[key]
    good: list[dict[str, Any]] = []
    seen: set[Any] = set()
    found: dict[str, list[tuple[int, str]]] = {}
    for number, entry in enumerate(entries):
        problem = entry_problem(entry, fields)
        if problem is None and entry['id'] in seen:
            problem = 'id', f'has the id {entry["id"]!r} of another one'
        if problem is None:
            seen.add(entry['id'])
            good.append(entry)
        else:
            found.setdefault(problem[0], []).append((number, problem[1]))
    for places in found.values():
        more = f' (and {len(places) - 1} more like it)' * (len(places) > 1)
        look.add(
            f'{key}[{places[0][0]}] of the annotation file {places[0][1]}'
            f'{more}',
            count=len(places),
            places=tuple(f'{key}[{number}]' for number, _ in places),
            allowed=f'entries of {key} with {", ".join(fields)}',
            fix=FIX_HINT,
        )
    return good


def _wanted_classes(dataset: ConfigDict, names: list[str]) -> tuple[str, ...]:
    classes = (dataset.get('metainfo') or {}).get('classes')
    if classes is None:
        # Not at the head: it takes seconds, and most configs do without.
        from mmdet.datasets import CocoDataset

        classes = CocoDataset.METAINFO['classes']
    elif isinstance(classes, str) and os.path.isfile(classes):
        classes = list_from_file(classes)
    elif isinstance(classes, str):
        classes = [classes]
    # Of none, pycocotools takes all.
    return tuple(classes) or tuple(names)


def _look_at_classes(
    look: Look, entries: dict[str, list[dict[str, Any]]]
) -> set[Any] | None:
    """Return the ids of the data set's categories."""
    where = f'{look.where}.metainfo.classes'
    names = [category['name'] for category in entries['categories']]
    wanted = _wanted_classes(look.dataset, names)
    chosen = [c for c in entries['categories'] if c['name'] in wanted]
    # A file of backgrounds needs no categories.
    if not chosen and entries['annotations']:
        given = (look.dataset.get('metainfo') or {}).get('classes')
        look.add(
            'no class of the data set is in the annotation file'
            + f'; without metainfo they are the {len(wanted)} of COCO'
            * (given is None),
            where=where,
            places=tuple(map(str, wanted)),
            allowed=', '.join(names),
            fix="name the file's categories in metainfo.classes",
        )
        return None
    look.labels = tuple(category['name'] for category in chosen)
    twice = sorted({n for n in look.labels if look.labels.count(n) > 1})
    if twice:
        look.add(
            'categories of the annotation file share a name, so that there '
            'are more labels than classes',
            where=where,
            count=len(twice),
            places=tuple(twice),
            fix='give each category a name of its own',
        )
    # Of more labels than classes was said above.
    moved = [
        f'label {i} is {name!r}, not {expected!r}'
        for i, (name, expected) in enumerate(
            zip(look.labels, wanted, strict=False)
        )
        if name != expected and not twice
    ]
    if moved:
        look.add(
            'the classes are in another order in the annotation file, '
            'whose order numbers the labels',
            where=where,
            count=len(moved),
            places=tuple(moved),
            refused=False,
            fix='list metainfo.classes in the order of the categories',
        )
    return {category['id'] for category in chosen}


def _look_at_objects(
    look: Look, entries: dict[str, list[dict[str, Any]]], ids: set[Any]
) -> set[Any]:
    """Return the ids of images with an object that is used."""
    sizes = {
        image['id']: (image['width'], image['height'])
        for image in entries['images']
    }
    known = {category['id'] for category in entries['categories']}
    everything = entries['annotations']
    lost = [a for a in everything if a['image_id'] not in sizes]
    if lost:
        look.add(
            f'{len(lost)} of {len(everything)} annotations belong to no image '
            'of the file',
            count=len(lost),
            places=tuple(
                f'annotation {a["id"]} of image {a["image_id"]}' for a in lost
            ),
            fix=FIX_HINT,
        )
    unknown = [a for a in everything if a['category_id'] not in known]
    if unknown:
        look.add(
            f'{len(unknown)} of {len(everything)} annotations are of '
            'categories that the file does not have',
            count=len(unknown),
            places=tuple(
                f'annotation {a["id"]} of category {a["category_id"]}'
                for a in unknown
            ),
            refused=len(unknown) > MOST_FAULTY_OBJECTS * len(everything),
            fix='add the categories to the file',
        )
    look.readable = not any(finding.refused for finding in look.findings)
    objects = [
        a
        for a in everything
        if a['category_id'] in ids
        and a['image_id'] in sizes
        and not a.get('ignore')
    ]
    verdicts = judge_boxes(
        np.array([a['bbox'] for a in objects], float).reshape(-1, 4),
        np.array([a['area'] for a in objects], float),
        np.array([sizes[a['image_id']] for a in objects], float).reshape(
            -1, 2
        ),
    )
    leave = verdicts.pop('leave').nonzero()[0]
    gone = np.zeros(len(objects), bool)
    for mask in verdicts.values():
        gone |= mask
    dropped = {kind: mask.nonzero()[0] for kind, mask in verdicts.items()}
    dropped |= _look_at_masks(look, objects, sizes, gone)
    for indices in dropped.values():
        gone[indices] = True
    crowd = np.array([bool(a.get('iscrowd')) for a in objects], bool)
    look.used = int((~gone & ~crowd).sum())
    most = gone.sum() > MOST_FAULTY_OBJECTS * len(objects)
    for kind, indices in dropped.items():
        if len(indices):
            what = f'{len(indices)} of {len(objects)} objects {_DROPPED[kind]}'
            look.reasons.append(what)
            look.add(
                f'{what}, and are dropped',
                count=len(indices),
                places=tuple(_name(objects[i]) for i in indices),
                refused=bool(most and len(indices) * 2 > gone.sum()),
                fix=FIX_HINT,
            )
    if crowd.any():
        look.reasons.append(f'{crowd.sum()} of {len(objects)} are crowds')
    if len(leave):
        look.add(
            f'{len(leave)} of {len(objects)} objects have a box that leaves '
            'its image',
            count=len(leave),
            places=tuple(_name(objects[i]) for i in leave),
            refused=False,
            fix=FIX_HINT,
        )
    kept = (~gone & ~crowd).nonzero()[0]
    return {objects[i]['image_id'] for i in kept}


def _name(annotation: Mapping[str, Any]) -> str:
    return f'annotation {annotation["id"]} of image {annotation["image_id"]}'


def _look_at_masks(
    look: Look,
    objects: list[dict[str, Any]],
    sizes: dict[Any, tuple[float, float]],
    gone: np.ndarray[Any, np.dtype[np.bool_]],
) -> dict[str, Any]:
    """Return the indices of objects that are ignored for their masks."""
    poly2mask = mask_options(look.dataset)
    if poly2mask is None:
        return {}
    rest = (~gone).nonzero()[0]
    encoded = [
        i for i in rest if isinstance(objects[i].get('segmentation'), dict)
    ]
    most = len(encoded) if look.every else _MOST_MASKS
    counted = {encoded[i] for i in spread(len(encoded), most)}

    def judge(index: int) -> str | None:
        annotation = objects[index]
        return judge_mask(
            annotation.get('segmentation'),
            sizes[annotation['image_id']],
            bool(poly2mask),
            index in counted,
        )

    found = count_kinds(rest, judge)
    for kind, (what, fix) in _BROKEN_MASKS.items():
        if kind in found:
            look.add(
                f'{len(found[kind])} of {len(rest)} objects {what}',
                where=f'{look.where}.pipeline',
                count=len(found[kind]),
                places=tuple(_name(objects[rest[i]]) for i in found[kind]),
                fix=fix,
            )
    return {
        kind: rest[found[kind]]
        for kind in ('points', 'encoded')
        if kind in found
    }


def _look_at_filter(
    look: Look, entries: dict[str, list[dict[str, Any]]], ids: set[Any]
) -> None:
    """Count what mmdet's ``filter_cfg`` drops, by its own rules."""
    rules = look.dataset.get('filter_cfg') or {}
    if look.dataset.get('test_mode') or not rules:
        return
    labelled = {
        a['image_id']
        for a in entries['annotations']
        if a['category_id'] in ids
    }
    least = rules.get('min_size', 0)
    empty = small = 0
    for image in entries['images']:
        if rules.get('filter_empty_gt') and image['id'] not in labelled:
            empty += 1
        elif min(image['width'], image['height']) < least:
            small += 1
    total = len(entries['images'])
    if empty + small == 0:
        return
    look.add(
        f'filter_cfg drops {empty + small} of {total} images: {empty} '
        f'without an object of the classes, {small} smaller than {least}',
        where=f'{look.where}.filter_cfg',
        count=empty + small,
        refused=empty + small == total,
        fix='for a file of backgrounds, give its data set '
        'filter_cfg=dict(filter_empty_gt=False)',
    )
