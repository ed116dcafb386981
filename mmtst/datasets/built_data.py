"""Count what a built data set really offers to a training.

What files say and what a data set keeps of them differ: mmdet drops objects
of ``area`` 0 and of unknown categories, filters drop images, and nothing says
so. Here the data set itself is asked, after all of that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmtst.utils.errors import ConfigError

_MOST = 20_000
_SHOWN = 5


@dataclass
class DataCounts:
    """Hold what a data set offers.

    Attributes:
        images: How many there are.
        looked_at: How many of them were asked for what they hold.
        kind: ``'objects'`` (detection), ``'labels'`` (classification),
            ``'label maps'`` (segmentation), or ``''`` where the data set does
            not tell without loading.
        with_objects: Of those looked at, images with an object to learn.
        objects: Objects to learn by label, or images by label.
    """

    images: int = 0
    looked_at: int = 0
    kind: str = ''
    with_objects: int = 0
    objects: Counter[int] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """Return the number of objects, or of labels."""
        return sum(self.objects.values())


def iter_parts(dataset: Any) -> Iterator[Any]:
    """Yield the data sets that wrappers are made of.

    Args:
        dataset: Built; wrappers of mmengine, mmdet and torch (``dataset``,
            ``datasets``) are followed.
    """
    inner = getattr(dataset, 'dataset', None)
    several = getattr(dataset, 'datasets', None)
    if not isinstance(inner, str) and all(
        hasattr(inner, name) for name in ('__len__', '__getitem__')
    ):
        yield from iter_parts(inner)
    elif isinstance(several, (list, tuple)) and several:
        for part in several:
            yield from iter_parts(part)
    else:
        yield dataset


def spread(length: int, number: int | None) -> list[int]:
    """Return numbers that lie evenly over ``range(length)``.

    Args:
        length: Of the range.
        number: How many, at most; ``None`` for all.
    """
    if number is None or number >= length:
        return list(range(length))
    return [i * length // number for i in range(number)]


def class_names(dataset: Any) -> tuple[str, ...]:
    """Return the names of a built data set's classes; empty if it has none.

    Raises:
        ConfigError: They are one text, which is no list of names.
    """
    meta = getattr(dataset, 'metainfo', None) or {}
    names = meta.get('classes') or meta.get('CLASSES') or ()
    if isinstance(names, str):
        raise ConfigError(
            'the classes are one text, not a list of names',
            where='train_dataloader.dataset.metainfo.classes',
            got=names,
            allowed='a tuple of names',
            fix=f"one class needs a comma: classes=('{names}',)",
        )
    return tuple(names)


def count_data(dataset: Any, most: int | None = _MOST) -> DataCounts:
    """Count images and objects of a built data set.

    Nothing is loaded: only what the data set holds in memory is read, about
    50 microseconds an image.

    Args:
        dataset: Built; wrappers are followed.
        most: Images of each part to look at, spread evenly; ``None`` for all.
    """
    counts = DataCounts()
    for part in iter_parts(dataset):
        length = len(part)
        counts.images += length
        if not hasattr(part, 'get_data_info'):
            continue
        for number in spread(length, most):
            _count_image(counts, part.get_data_info(number))
    return counts


def _count_image(counts: DataCounts, info: Any) -> None:
    if not isinstance(info, dict):
        return
    counts.looked_at += 1
    if 'instances' in info:
        counts.kind = 'objects'
        labels = [
            int(each['bbox_label'])
            for each in info['instances']
            if 'bbox_label' in each and not each.get('ignore_flag')
        ]
    elif 'gt_label' in info:
        counts.kind = 'labels'
        given = info['gt_label']
        if isinstance(given, Mapping):
            return  # of several tasks
        several = isinstance(given, Sequence) or getattr(given, 'ndim', 0) > 0
        labels = [int(each) for each in given] if several else [int(given)]
    else:
        counts.kind = counts.kind or 'label maps'
        return
    counts.with_objects += bool(labels)
    counts.objects.update(labels)


def check_counts(
    counts: DataCounts,
    names: Sequence[str],
    where: str,
    num_classes: int | None = None,
) -> list[str]:
    """Refuse a data set that teaches nothing; say what is odd about others.

    Args:
        counts: Of :func:`count_data`.
        names: Of the classes.
        where: Path of the data set in the config.
        num_classes: Of the model, where the data set names no classes.

    Returns:
        Sentences for the log, the first of them a summary.

    Raises:
        ConfigError: There are no images, none of them has an object, or
            labels lie beyond the classes.
    """
    if not counts.images:
        raise ConfigError(
            'the data set is empty once it is built',
            where=where,
            got='0 images',
            fix='look at ann_file, data_prefix, metainfo.classes and '
            'filter_cfg',
        )
    if counts.kind not in ('objects', 'labels') or not counts.looked_at:
        return [f'{where}: {counts.images} images']
    if not counts.total:
        raise ConfigError(
            'no image of the built data set has an object to learn',
            where=where,
            got=f'{counts.images} images, 0 {counts.kind} of '
            f'{len(names)} classes',
            fix='objects are dropped whose category is not among '
            'metainfo.classes, whose area is 0 or less than 1 pixel a side, '
            'which are crowds, or lie outside of their image; '
            'tools/check_data.py CONFIG says which, and --fix mends areas',
        )
    _check_range(counts, len(names) or num_classes, where)
    return _describe(counts, names, where)


def _check_range(
    counts: DataCounts, num_classes: int | None, where: str
) -> None:
    beyond = sorted(
        label
        for label in counts.objects
        if label < 0 or (num_classes and label >= num_classes)
    )
    if beyond:
        raise ConfigError(
            f'labels of the data set lie beyond its {num_classes} classes'
            if num_classes
            else 'labels of the data set are negative',
            where=where,
            got=f'{sum(counts.objects[i] for i in beyond)} {counts.kind} '
            f'with labels {beyond[:_SHOWN]}',
            allowed=f'0 to {num_classes - 1}' if num_classes else '0 and more',
            fix='name all classes in metainfo.classes',
        )


def _describe(
    counts: DataCounts, names: Sequence[str], where: str
) -> list[str]:
    part = ''
    if counts.looked_at < counts.images:
        part = f' (looked at {counts.looked_at})'
    lines = [f'{where}: {counts.images} images{part}']
    if counts.kind == 'objects':
        lines[0] += (
            f', {counts.with_objects} with objects; {counts.total} objects of '
            f'{len(counts.objects)} classes'
        )
    absent = [
        name for i, name in enumerate(names) if not counts.objects.get(i)
    ]
    if absent:
        shown = ', '.join(absent[:_SHOWN])
        more = len(absent) - _SHOWN
        lines.append(
            f'{where}: {len(absent)} of {len(names)} classes have none of '
            f'the {counts.kind} looked at: {shown}'
            + (f' and {more} more' if more > 0 else '')
        )
    return lines
