"""Judge single entries of annotation files in COCO layout, as mmdet does."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

# What mmdet and pycocotools read of each entry without asking.
FIELDS = {
    'images': ('id', 'file_name', 'height', 'width'),
    'annotations': ('id', 'image_id', 'category_id', 'bbox', 'area'),
    'categories': ('id', 'name'),
}
NUMBERS = frozenset(('height', 'width', 'area'))
_NAMES = frozenset(('file_name', 'name'))
# Need not be there; mmdet ignores objects whose flag is anything but 0.
_FLAGS = ('iscrowd', 'ignore')
_PLAIN = {int, float}
_IDS = {int, float, str}
# pycocotools draws polygons in memory that grows with their length, and
# crashes the process where a coordinate does not fit its integers.
_FARTHEST = 1e5


def entry_problem(
    entry: Any, fields: tuple[str, ...]
) -> tuple[str, str] | None:
    """Say what is wrong with the fields of an entry.

    Args:
        entry: Of the lists of an annotation file.
        fields: Those that it must have.

    Returns:
        The kind of the problem, and the end of a sentence about the entry;
        ``None`` if nothing is wrong.
    """
    if not isinstance(entry, dict):
        return 'entry', f'is not an object: {reprlib.repr(entry)}'
    for field in fields:
        if field not in entry:
            return f'no {field}', f'has no {field}'
        value = entry[field]
        if field == 'bbox':
            good = (
                isinstance(value, list)
                and len(value) == 4
                and all(map(is_finite, value))
            )
            kind = '4 finite numbers'
        elif field in NUMBERS:
            good, kind = is_finite(value), 'a finite number'
        elif field in _NAMES:
            good = isinstance(value, str) and value != '' and '\0' not in value
            kind = 'a name'
        else:
            good = isinstance(value, str) or is_finite(value)
            kind = 'an id'
        if not good:
            text = f'has a {field} that is not {kind}: {reprlib.repr(value)}'
            return field, text
    for field in _FLAGS if 'bbox' in fields else ():
        value = entry.get(field, 0)
        if not _is_flag(value):
            text = f'has {field} that is not 0 or 1: {reprlib.repr(value)}'
            return field, text
    return None


def _is_flag(value: Any) -> bool:
    return isinstance(value, int) and value in (0, 1)


def is_finite(value: Any) -> bool:
    """Tell whether a value of JSON is a finite number."""
    # JSON has true and false, which Python takes for numbers.
    kind = type(value)
    return kind is int or (kind is float and math.isfinite(value))


def are_well_formed(entries: list[Any], key: str) -> bool:
    """Tell in bulk whether all entries of a list have no problem.

    As :func:`entry_problem`, with ids that differ, in a tenth of the time;
    it may say no where there is nothing.
    """
    if not set(map(type, entries)) <= {dict}:
        return False
    try:
        columns = {f: [e[f] for e in entries] for f in FIELDS[key]}
    except KeyError:
        return False
    if key == 'annotations' and not all(
        _is_flag(entry[flag])
        for entry in entries
        for flag in _FLAGS
        if flag in entry
    ):
        return False
    return len(set(_hashable(columns['id']))) == len(entries) and all(
        _is_good_column(field, values) for field, values in columns.items()
    )


def _hashable(values: list[Any]) -> list[Any]:
    return values if set(map(type, values)) <= _IDS else []


def _is_good_column(field: str, values: list[Any]) -> bool:
    if field == 'bbox':
        if not set(map(type, values)) <= {list}:
            return False
        flat = list(chain.from_iterable(values))
        return set(map(len, values)) <= {4} and _all_finite(flat)
    if field in NUMBERS:
        return _all_finite(values)
    kinds = set(map(type, values))
    if field in _NAMES:
        return (
            kinds <= {str} and '' not in values and '\0' not in ''.join(values)
        )
    return kinds <= {int, str} or (kinds <= _IDS and _all_finite(values))


def _all_finite(values: Iterable[Any]) -> bool:
    values = list(values)
    return set(map(type, values)) <= _PLAIN and all(map(math.isfinite, values))


def judge_boxes(
    boxes: NDArray[np.float64],
    areas: NDArray[np.float64],
    sizes: NDArray[np.float64],
) -> dict[str, NDArray[np.bool_]]:
    """Tell which boxes mmdet drops, and which leave their image.

    Args:
        boxes: (N, 4), x, y, width and height, in pixels.
        areas: (N,), as annotated.
        sizes: (N, 2), width and height of each box's image.

    Returns:
        Masks (N,) that exclude each other: ``small`` boxes of under one
        pixel, those ``outside`` of their image, with ``no area``, and of the
        rest those that ``leave`` their image by more than a pixel.
    """
    low, extent = boxes[:, :2], boxes[:, 2:]
    with np.errstate(over='ignore', invalid='ignore'):
        high = low + extent
        inner = np.minimum(high, sizes) - np.maximum(low, 0)
        small = (extent < 1).any(1)
        outside = ~small & ~(inner > 0).all(1)
        no_area = ~small & ~outside & (areas <= 0)
        rest = ~small & ~outside & ~no_area
        leave = rest & ((low < -1) | (high > sizes + 1)).any(1)
    return {
        'small': small,
        'outside': outside,
        'no area': no_area,
        'leave': leave,
    }


def judge_mask(
    segmentation: Any,
    size: tuple[float, float],
    poly2mask: bool,
    runs: bool = True,
) -> str | None:
    """Say what mmdet's ``LoadAnnotations`` makes of a mask.

    Args:
        segmentation: The field of the annotation.
        size: Width and height of the image.
        poly2mask: Whether masks are made to bitmaps.
        runs: Whether to count run lengths up.

    Returns:
        ``None`` if it is read as it stands. ``missing``, ``malformed``,
        ``far`` and ``runs`` stop a training; an object with ``points`` or
        ``encoded`` is ignored.
    """
    if not segmentation:
        return 'missing'
    if isinstance(segmentation, list):
        return _judge_polygons(segmentation)
    if not isinstance(segmentation, dict):
        return 'malformed' if poly2mask else 'encoded'
    if not poly2mask:
        return 'encoded'
    counts, extent = segmentation.get('counts'), segmentation.get('size')
    if extent is None or not isinstance(counts, (list, str)):
        return 'points'
    if extent != [size[1], size[0]]:
        return 'runs'
    return None if not runs or _fills(counts, extent) else 'runs'


def _judge_polygons(polygons: list[Any]) -> str | None:
    if not set(map(type, polygons)) <= {list}:
        return 'malformed'
    kept = [p for p in polygons if len(p) % 2 == 0 and len(p) >= 6]
    if not kept:
        return 'points'
    flat = list(chain.from_iterable(kept))
    if not set(map(type, flat)) <= _PLAIN:
        return 'malformed'
    # NaN is neither.
    good = max(flat) <= _FARTHEST and min(flat) >= -_FARTHEST
    return None if good and all(map(math.isfinite, flat)) else 'far'


def _fills(counts: list[Any] | str, extent: Sequence[int]) -> bool:
    """Tell whether run lengths add up to the image's pixels."""
    if isinstance(counts, str):
        decoded = _decode_runs(counts)
        if decoded is None:
            return False
        counts = decoded
    good = set(map(type, counts)) <= {int} and min(counts, default=-1) >= 0
    return good and sum(counts) == extent[0] * extent[1]


def _decode_runs(text: str) -> list[int] | None:
    """Read pycocotools' compressed run lengths."""
    runs: list[int] = []
    value = shift = 0
    for letter in text:
        code = ord(letter) - 48
        if not 0 <= code < 64 or shift > 30:
            return None
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        # From the fourth on they are differences.
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return None if shift else runs


def count_kinds(
    items: Iterable[Any], judge: Callable[[Any], str | None]
) -> dict[str, list[int]]:
    """Return the indices of the items of each kind that a judge names."""
    found: dict[str, list[int]] = {}
    for index, item in enumerate(items):
        kind = judge(item)
        if kind is not None:
            found.setdefault(kind, []).append(index)
    return found
