"""Look into image files before a training starts.

The first bytes of a file tell format, size and orientation, the last ones
whether it was cut short. Only what looks wrong by these, or is of a format
that has no end mark, is decoded, by the very call that mmcv's
``LoadImageFromFile`` makes.
"""

from __future__ import annotations

import os
import stat
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mmcv
from PIL import Image

from mmtst.datasets.data_paths import type_name
from mmtst.datasets.findings import (
    MOST_FAULTY_IMAGES,
    Finding,
    refuse_worst,
)

SAMPLE = 200
_LOADERS = ('LoadImageFromFile',)
_ORIENTATION = 274
# Those that turn an image by a quarter.
_QUARTERS = (5, 6, 7, 8)
_FORMATS = {
    '.jpg': ('JPEG', 'MPO'),
    '.jpeg': ('JPEG', 'MPO'),
    '.png': ('PNG',),
    '.bmp': ('BMP', 'DIB'),
    '.gif': ('GIF',),
    '.webp': ('WEBP',),
    '.tif': ('TIFF',),
    '.tiff': ('TIFF',),
}
# Those that OpenCV decodes, if they are whole.
_DECODED = ('JPEG', 'MPO', 'PNG', 'GIF', 'WEBP', 'BMP', 'DIB') + (
    'TIFF',
    'JPEG2000',
    'AVIF',
    'PPM',
    'SUN',
)
_TAIL = 16
_MOST_BYTES = 1 << 31
_TURNED_FIX = (
    'give LoadImageFromFile color_type="color_ignore_orientation" if the '
    'annotations were made on the images as stored, or turn and save the '
    'images anew'
)
# Kind of fault: what is wrong with such images, and the way out. Those in
# front are the worse ones.
_KINDS = {
    'missing': ('not there', 'check data_prefix and the layout below it'),
    'empty': ('empty files', 'copy or download them again'),
    'web page': ('web pages, not images', 'download them again'),
    'pointer': (
        'pointers of Git LFS, not images',
        'fetch the files with git lfs pull',
    ),
    'unreadable': (
        'no images that the pipeline can read',
        'replace them or take them out of the data set',
    ),
    'cut': (
        'cut short or damaged',
        'copy or download them again, or take them out of the data set',
    ),
    'turned': (
        'turned by their EXIF orientation, away from the annotated size',
        _TURNED_FIX,
    ),
    'size': (
        'of another size than the annotation file says',
        'take the annotations that belong to these images',
    ),
    'channels': (
        'of other channels than the rest, as color_type="unchanged" keeps '
        'them',
        'give LoadImageFromFile color_type="color"',
    ),
    'pixel': ('of one pixel', 'take them out if they stand for lost images'),
    'oriented': (
        'mirrored or turned by their EXIF orientation without a change of '
        'size; the annotations fit if they were made on the turned images',
        None,
    ),
    'large': ('of more pixels than Pillow opens', None),
    'deep': ('of 16 bits, of which the upper 8 are kept', None),
    'alpha': ('transparent; what lies under it is shown', None),
    'format': ('of another format than their names say', None),
}
# These stop a training, however few they are; 'turned' and 'size' spoil it
# where they are many.
_DEADLY = frozenset(
    ('missing', 'empty', 'web page', 'pointer', 'unreadable', 'cut')
) | {'channels'}
_SPOILING = frozenset(('turned', 'size'))
# Of these an image of its own is the cause, so that it can be dropped.
DROPPED_KINDS = (_DEADLY - {'channels'}) | _SPOILING


@dataclass(frozen=True)
class ImageReader:
    """Say how a pipeline decodes images, as mmcv's loader names it."""

    color_type: str = 'color'
    backend: str = 'cv2'

    @property
    def turns(self) -> bool:
        """Whether images are turned by their EXIF orientation."""
        return self.backend in ('cv2', 'pillow') and self.color_type in (
            'color',
            'grayscale',
        )


@dataclass(frozen=True)
class ImageFault:
    """Name what is wrong with one image: the kind, and details of it."""

    kind: str
    detail: str = ''


def find_reader(pipeline: Iterable[Any] | None) -> ImageReader | None:
    """Return how a pipeline reads images.

    Args:
        pipeline: The steps' configs.

    Returns:
        ``None`` if none of them is mmcv's ``LoadImageFromFile``.
    """
    for step in pipeline or ():
        name = type_name(step) if isinstance(step, Mapping) else ''
        if name.rpartition('.')[2] in _LOADERS:
            return ImageReader(
                str(step.get('color_type', 'color')),
                str(step.get('imdecode_backend', 'cv2')),
            )
    return None


def spread(count: int, most: int = SAMPLE) -> list[int]:
    """Return indices that lie evenly in ``range(count)``, at most ``most``.

    The same each time, with the first and the last.
    """
    if count <= most:
        return list(range(count))
    return [i * (count - 1) // (most - 1) for i in range(most)]


def inspect_image_file(
    path: str,
    size: tuple[float, float] | None = None,
    reader: ImageReader | None = None,
) -> list[ImageFault]:
    """Look at one image file.

    Args:
        path: Of a local file.
        size: Width and height, in pixels, that the annotations give.
        reader: How the pipeline reads it; by default as mmcv does.

    Returns:
        What is wrong; nothing if all is well.
    """
    reader = reader or ImageReader()
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return [ImageFault('missing')]
        if status.st_size == 0:
            return [ImageFault('empty')]
        with open(path, 'rb') as file:
            head = file.read(512)
            file.seek(max(0, status.st_size - _TAIL))
            tail = file.read(_TAIL)
    except (OSError, ValueError) as error:
        kind = 'missing' if not os.path.lexists(path) else 'unreadable'
        return [ImageFault(kind, getattr(error, 'strerror', None) or '')]
    try:
        header = _read_header(path)
    except Image.DecompressionBombError:
        # Not decoded either: it may take all memory.
        return [ImageFault('large')]
    faults: list[ImageFault] = []
    whole = header is not None and _has_end(
        header.format, head, tail, status.st_size
    )
    loaded = None if header is None else header.loaded_size(reader)
    channels = None if header is None else header.channels
    usual = reader.backend in ('cv2', 'pillow')
    if not whole or not usual:
        array = _decode(path, status.st_size, reader)
        if array is None:
            # With its end in place it is no format of this backend.
            return [
                ImageFault('unreadable', reader.backend)
                if whole
                else _name_unreadable(head, header)
            ]
        if _ends_in_zeros(path, header, tail):
            return [ImageFault('cut', 'zeros in place of its end')]
        loaded = (array.shape[1], array.shape[0])
        channels = 1 if array.ndim == 2 else array.shape[2]
    if header is not None:
        faults += header.faults(path, reader)
    if reader.color_type == 'unchanged' and channels is not None:
        faults.append(ImageFault('channels', str(channels)))
    if loaded == (1, 1):
        faults.append(ImageFault('pixel'))
    if size is not None and loaded is not None:
        faults += _compare_sizes(tuple(size), loaded, header, reader)
    return faults


def find_image_faults(
    paths: Sequence[str],
    where: str,
    *,
    folder: str = '',
    sizes: Sequence[tuple[float, float]] | None = None,
    reader: ImageReader | None = None,
    every: bool = False,
) -> list[Finding]:
    """Look at images of a data set: at a sample of them, or at all.

    Args:
        paths: Of local files.
        where: Path in the config of what names them.
        folder: Where they lie, for messages.
        sizes: The annotated width and height of each.
        reader: How the pipeline reads them; by default as mmcv does.
        every: Whether to look at all instead of ``SAMPLE`` of them.

    Returns:
        One finding for each kind of fault, the worst first.
    """
    found: dict[str, list[str]] = defaultdict(list)
    channels: dict[str, list[str]] = defaultdict(list)
    indices = spread(len(paths), len(paths) if every else SAMPLE)
    for index in indices:
        path = paths[index]
        size = None if sizes is None else sizes[index]
        for fault in inspect_image_file(path, size, reader):
            told = f'{path} ({fault.detail})' if fault.detail else path
            if fault.kind == 'channels':
                channels[fault.detail].append(told)
            else:
                found[fault.kind].append(told)
    if len(channels) > 1:
        # The most frequent number is the rule.
        odd = sorted(channels.values(), key=len)[:-1]
        found['channels'] = [told for group in odd for told in group]
    sample = '' if len(indices) == len(paths) else ' looked at'
    findings = []
    for kind, (what, fix) in _KINDS.items():
        if not found[kind]:
            continue
        count = len(found[kind])
        refused = kind in _DEADLY or (
            kind in _SPOILING and count > MOST_FAULTY_IMAGES * len(indices)
        )
        findings.append(
            Finding(
                f'{count} of {len(indices)} images{sample} are {what}',
                where,
                folder or os.path.dirname(paths[0]),
                count,
                tuple(found[kind]),
                refused,
                fix=fix,
            )
        )
    return findings


def check_image_files(
    paths: Sequence[str], where: str, **options: Any
) -> list[str]:
    """Refuse images that stop or spoil a training.

    Args:
        paths: Of local files.
        where: Path in the config of what names them.
        options: Those of :func:`find_image_faults`.

    Returns:
        What else was found, as lines for the log.

    Raises:
        ConfigError: Some images cannot be read, or too many contradict their
            annotations.
    """
    findings = find_image_faults(paths, where, **options)
    refuse_worst(findings)
    return [finding.note() for finding in findings]


@dataclass(frozen=True)
class _Header:
    format: str
    stored: tuple[int, int]
    mode: str
    orientation: int
    alpha: bool
    deep: bool

    @property
    def channels(self) -> int:
        if self.alpha:
            return 4
        return 1 if self.mode in ('1', 'L', 'I', 'I;16', 'I;16B', 'F') else 3

    def loaded_size(self, reader: ImageReader) -> tuple[int, int]:
        width, height = self.stored
        quarter = self.orientation in _QUARTERS
        return (height, width) if quarter and reader.turns else self.stored

    def faults(self, path: str, reader: ImageReader) -> list[ImageFault]:
        faults = []
        named = _FORMATS.get(os.path.splitext(path)[1].lower())
        if named is not None and self.format not in named:
            faults.append(ImageFault('format', self.format))
        if self.deep and reader.color_type != 'unchanged':
            faults.append(ImageFault('deep'))
        if self.alpha and reader.color_type != 'unchanged':
            faults.append(ImageFault('alpha'))
        return faults


def _compare_sizes(
    said: tuple[float, ...],
    loaded: tuple[int, int],
    header: _Header | None,
    reader: ImageReader,
) -> list[ImageFault]:
    orientation = (
        1 if header is None or not reader.turns else (header.orientation)
    )
    quarter = orientation in _QUARTERS
    if said != loaded:
        told = f'{said[0]:g} x {said[1]:g}, not {loaded[0]} x {loaded[1]}'
        kind = 'turned' if quarter and said == loaded[::-1] else 'size'
        return [ImageFault(kind, told)]
    if orientation in (2, 3, 4) or (quarter and loaded[0] == loaded[1]):
        return [ImageFault('oriented', f'orientation {orientation}')]
    return []


def _read_header(path: str) -> _Header | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            with Image.open(path) as image:
                mode = image.mode
                raw = image.tile[0].args if image.tile else ''
                return _Header(
                    str(image.format),
                    # Pillow turns the size of a TIFF by itself.
                    image.size,
                    mode,
                    int(image.getexif().get(_ORIENTATION, 1) or 1),
                    'A' in mode or 'transparency' in image.info,
                    mode.startswith('I') or '16' in str(raw),
                )
    except Image.DecompressionBombError:
        raise
    except Exception:
        # Its readers raise what they meet: OSError, struct.error, KeyError,
        # SyntaxError. Whether mmcv can read it is seen next.
        return None


def _has_end(kind: str, head: bytes, tail: bytes, size: int) -> bool:
    """Tell whether a file surely has its end, by its last bytes alone."""
    if kind in ('JPEG', 'MPO'):
        return tail.endswith(b'\xff\xd9')
    if kind == 'PNG':
        return tail.endswith(b'IEND\xaeB`\x82')
    if kind == 'GIF':
        return tail.endswith(b'\x00;')
    if kind == 'WEBP':
        return int.from_bytes(head[4:8], 'little') + 8 == size
    if kind == 'BMP':
        return int.from_bytes(head[2:6], 'little') == size
    return False


def _ends_in_zeros(path: str, header: _Header | None, tail: bytes) -> bool:
    """Tell whether zeros stand where a JPEG has its end.

    So files look whose download or copy was set aside in full and broken
    off; decoders fill them with gray. Zeros after the end do no harm.
    """
    if header is None or header.format not in ('JPEG', 'MPO'):
        return False
    if tail.strip(b'\0'):
        return False
    content = Path(path).read_bytes().rstrip(b'\0')
    return not content.endswith(b'\xff\xd9')


def _decode(path: str, size: int, reader: ImageReader) -> Any:
    if size > _MOST_BYTES:
        return None
    try:
        with open(path, 'rb') as file:
            content = file.read()
        return mmcv.imfrombytes(
            content, flag=reader.color_type, backend=reader.backend
        )
    except Exception:
        # As above: whatever it is, the pipeline would meet it too.
        return None


def _name_unreadable(head: bytes, header: _Header | None) -> ImageFault:
    start = head.lstrip(b'\xef\xbb\xbf \t\r\n').lower()
    if start.startswith((b'<!doctype', b'<html', b'<?xml', b'<head')):
        return ImageFault('web page')
    if start.startswith(b'version https://git-lfs'):
        return ImageFault('pointer')
    if header is not None:
        # Pillow is not asked to decode: of some formats it starts programs.
        known = header.format in _DECODED and header.mode != 'F'
        return ImageFault('cut' if known else 'unreadable', header.format)
    starts = (b'\xff\xd8\xff', b'\x89PNG\r\n', b'GIF8', b'RIFF', b'BM')
    return ImageFault('cut' if head.startswith(starts) else 'unreadable')
