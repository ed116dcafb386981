"""Look into the label maps of segmentation data, as mmseg decodes them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import mmcv
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmtst.datasets.built_data import spread
from mmtst.datasets.data_paths import is_remote, type_name
from mmtst.datasets.findings import Finding
from mmtst.datasets.image_files import find_reader

# A map of 2 million pixels takes some 20 ms.
SAMPLE = 64
_ORIENTATION = 274
_QUARTERS = (5, 6, 7, 8)
# What mmseg makes of a label that is left out.
_LEFT_OUT = 255
_SHOWN = 5
_JPEG = b'\xff\xd8\xff'
# Kind of fault: what is wrong with such maps, and the way out; the worse ones
# are in front.
_KINDS = {
    'empty': ('are empty files', 'copy, download or write them again'),
    'unreadable': (
        'cannot be read as images',
        'copy, download or write them again',
    ),
    'channels': (
        'have colors in place of labels',
        'write maps of one channel, whose values are the classes; a palette '
        'may give these their colors',
    ),
    'size': (
        'have another size than their image',
        'pair each image with its own map (img_suffix, seg_map_suffix), and '
        'resize maps with the nearest pixel alone; an image that its EXIF '
        'orientation turns is loaded turned, its map never',
    ),
    'values': (
        'have labels beyond the classes',
        'name all classes in metainfo.classes, let the other labels be the '
        'ignored one, or set reduce_zero_label=True where 0 is to be '
        'ignored; maps are never kept as JPEG, which smears labels',
    ),
    'lossy': (
        'are JPEGs, which smear labels where classes meet',
        'write them as PNG, from what they were made of',
    ),
    'ignored': (
        'have ignored pixels alone',
        'look at reduce_zero_label and metainfo.classes: labels that are no '
        'class are ignored',
    ),
}


@dataclass(frozen=True)
class LabelMapReader:
    """Say how a data set turns the values of its maps into labels.

    Attributes:
        backend: Of mmcv, which decodes.
        reduce_zero_label: Whether 0 is ignored, and the others are lowered
            by one.
        label_map: New labels by the old ones, where only some classes are
            wanted.
        num_classes: ``None`` where the data set does not tell.
        ignored: Labels that are not learned.
    """

    backend: str = 'pillow'
    reduce_zero_label: bool = False
    label_map: Mapping[int, int] = field(default_factory=dict)
    num_classes: int | None = None
    ignored: Collection[int] = (_LEFT_OUT,)

    def label_of(self, value: int) -> int:
        """Return the label that a pixel's value stands for."""
        if self.reduce_zero_label:
            value = _LEFT_OUT if value in (0, _LEFT_OUT) else value - 1
        return self.label_map.get(value, value)

    def is_beyond(self, value: int) -> bool:
        """Tell whether a value is neither a class nor ignored."""
        # mmseg keeps 8 bits: 256 would become class 0 in silence.
        if not 0 <= value <= _LEFT_OUT:
            return True
        label = self.label_of(value)
        known = self.num_classes is None or label < self.num_classes
        return not known and label not in self.ignored


def find_label_map_reader(
    pipeline: Iterable[Any] | None, **options: Any
) -> LabelMapReader | None:
    """Return how a pipeline reads label maps.

    Args:
        pipeline: The steps' configs.
        options: Of :class:`LabelMapReader`, but for ``backend``.

    Returns:
        ``None`` if none of them is mmseg's ``LoadAnnotations``, or it reads
        from elsewhere.
    """
    for step in pipeline or ():
        if not isinstance(step, Mapping):
            continue
        if type_name(step).rpartition('.')[2] == 'LoadAnnotations':
            backend = str(step.get('imdecode_backend', 'pillow'))
            if is_remote(step):
                return None
            return LabelMapReader(backend=backend, **options)
    return None


def find_label_map_faults(
    entries: Sequence[Mapping[str, Any]],
    where: str,
    reader: LabelMapReader,
    *,
    pipeline: Iterable[Any] | None = None,
    whole: bool = False,
) -> tuple[list[Finding], dict[int, int]]:
    """Look into label maps: into a sample of them, or into all.

    Args:
        entries: With ``img_path`` and ``seg_map_path``, local files.
        where: Path of the data set in the config.
        reader: How maps are read.
        pipeline: The steps' configs, for how images are read.
        whole: Whether to look into all instead of ``SAMPLE`` of them, which
            lie evenly.

    Returns:
        One finding for each kind of fault, the worst first, and the number
        of pixels by label. A map from which a training would stop refuses
        the data, however few there are; maps that are ignored wholly refuse
        them only if all are, and are named else.
    """
    images = find_reader(pipeline)
    turns = images is None or images.turns
    found: dict[str, list[str]] = {kind: [] for kind in _KINDS}
    pixels: dict[int, int] = {}
    numbers = spread(len(entries), None if whole else SAMPLE)
    for number in numbers:
        entry = entries[number]
        path = str(entry['seg_map_path'])
        size = _image_size(str(entry.get('img_path', '')), turns)
        fault = _inspect(path, size, reader, pixels)
        if fault is not None:
            kind, detail = fault
            found[kind].append(f'{path} ({detail})' if detail else path)
    sample = ' looked at' * (len(numbers) < len(entries))
    rules = ('values', 'ignored')
    findings = [
        Finding(
            f'{len(found[kind])} of {len(numbers)} label maps{sample} {what}',
            f'{where}.data_prefix.seg_map_path',
            str(_folder(found[kind])),
            count=len(found[kind]),
            places=tuple(found[kind]),
            refused=kind not in ('lossy', 'ignored')
            or (kind == 'ignored' and len(found[kind]) == len(numbers)),
            allowed=_allowed(reader) if kind in rules else None,
            fix=fix,
        )
        for kind, (what, fix) in _KINDS.items()
        if found[kind]
    ]
    return findings, pixels


def _folder(places: Sequence[str]) -> str:
    return places[0].rpartition('/')[0] or '.'


def _allowed(reader: LabelMapReader) -> str:
    top = '' if reader.num_classes is None else f' to {reader.num_classes - 1}'
    ignored = ', '.join(map(str, sorted(reader.ignored)))
    return f'labels from 0{top}, and {ignored} for what is ignored'


def _inspect(
    path: str,
    size: tuple[int, int] | None,
    reader: LabelMapReader,
    pixels: dict[int, int],
) -> tuple[str, str] | None:
    """Return the kind of fault and details of it; count pixels by label."""
    try:
        with open(path, 'rb') as file:
            content = file.read()
        if not content:
            return 'empty', ''
        array = mmcv.imfrombytes(
            content, flag='unchanged', backend=reader.backend
        )
        if array is None:
            return 'unreadable', reader.backend
        array = array.squeeze()
    # The decoders raise many kinds, and a training stops at each.
    except Exception as error:
        said = str(error).strip().splitlines()
        return 'unreadable', said[0] if said else type(error).__name__
    if array.ndim == 3:
        return 'channels', f'{array.shape[2]} channels'
    if size is not None and array.shape[::-1] != size:
        shown = ' x '.join(map(str, array.shape[::-1]))
        return 'size', f'{shown} for an image of {size[0]} x {size[1]}'
    counts = _count_values(array)
    beyond = [value for value in counts if reader.is_beyond(value)]
    if beyond:
        shown = ', '.join(map(str, beyond[:_SHOWN]))
        more = len(beyond) - _SHOWN
        return 'values', shown + (f' and {more} more' if more > 0 else '')
    learned = 0
    for value, count in counts.items():
        label = reader.label_of(value)
        if label not in reader.ignored:
            learned += count
            pixels[label] = pixels.get(label, 0) + count
    if content.startswith(_JPEG):
        return 'lossy', ''
    return None if learned else ('ignored', '')


def _count_values(array: NDArray[Any]) -> dict[int, int]:
    """Return the number of pixels by value, in the order of the values."""
    if array.dtype == np.uint8:
        counts = np.bincount(array.reshape(-1), minlength=256)
        return {int(i): int(counts[i]) for i in np.flatnonzero(counts)}
    if array.dtype.kind == 'f':
        # Cut off as mmseg does, but for what no number is: beyond all.
        array = np.nan_to_num(array, nan=-1, posinf=-1, neginf=-1)
    values, numbers = np.unique(array.astype(np.int64), return_counts=True)
    return dict(zip(values.tolist(), numbers.tolist(), strict=True))


def _image_size(path: str, turns: bool) -> tuple[int, int] | None:
    """Return width and height of an image as loaded; ``None`` if unknown."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = image.getexif().get(_ORIENTATION) in _QUARTERS
    except Exception:
        # Not this check's business: images have one of their own.
        return None
    return (height, width) if turned and turns else (width, height)
