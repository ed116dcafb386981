"""Cases: images, label maps, and the files of CIFAR."""

from __future__ import annotations

import os
import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from hostile.annotations import data_of, train_on
from hostile.files import Call
from hostile.harness import Case, Command, Place


def _as(mode: str, form: str, **options: Any) -> Callable[[Path], None]:
    """Return what writes a picture anew in another mode and format."""

    def write(path: Path) -> None:
        picture = Image.open(path).convert('RGB')
        if mode == 'I;16':
            values = np.asarray(picture.convert('L')).astype(np.uint16) * 257
            picture = Image.fromarray(values)
        else:
            picture = picture.convert(mode)
        picture.save(path, form, **options)

    return write


def _sized(width: int, height: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        Image.open(path).resize((width, height)).save(path)

    return write


def _rotated(path: Path) -> None:
    """Let EXIF turn a picture that is not square."""
    picture = Image.open(path).resize((64, 48))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(path, exif=exif)


def _png(width: int, height: int) -> bytes:
    """Return the head of a PNG of so many pixels, with few bytes inside."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = zlib.crc32(kind + data)
        return struct.pack('>I', len(data)) + kind + data + struct.pack(
            '>I', checked
        )  # fmt: skip

    head = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return (
        b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + chunk(b'IDAT', body)
        + chunk(b'IEND', b'')
    )  # fmt: skip


def _bytes(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(change(path.read_bytes())) and None


def _replaced(make: Callable[[Path], Any]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.unlink()
        make(path)

    return write


def _rubbed(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes(40) + content[middle + 40 :]


_IMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    'cut in half': (_bytes(lambda b: b[: len(b) // 2]), 'clear'),
    'last bytes gone': (_bytes(lambda b: b[:-30]), 'clear'),
    'head alone': (_bytes(lambda b: b[:20]), 'clear'),
    'head gone': (_bytes(lambda b: b[20:]), 'clear'),
    'end filled with zeros': (
        _bytes(lambda b: b[: len(b) // 2] + bytes(len(b) // 2)), 'clear'
    ),
    'zeros': (_bytes(lambda b: bytes(len(b))), 'clear'),
    'zeros in the middle': (_bytes(_rubbed), 'either'),
    'empty': (_bytes(lambda b: b''), 'clear'),
    'one byte': (_bytes(lambda b: b'\xff'), 'clear'),
    'a web page': (_bytes(lambda b: b'<!DOCTYPE html>404'), 'clear'),
    'text': (_bytes(lambda b: b'Not found'), 'clear'),
    'a pointer of git lfs': (
        _bytes(lambda b: b'version https://git-lfs.github.com/spec/v1'),
        'clear',
    ),
    'SVG': (_bytes(lambda b: b'<svg xmlns="x"/>'), 'clear'),
    'PDF': (_bytes(lambda b: b'%PDF-1.7 \n%%EOF'), 'clear'),
    'missing': (_replaced(lambda path: None), 'clear'),
    'a folder': (_replaced(lambda path: path.mkdir()), 'clear'),
    'a link to itself': (
        _replaced(lambda path: path.symlink_to(path.name)), 'clear'
    ),
    'a named pipe': (_replaced(os.mkfifo), 'clear'),
    'PNG inside': (_as('RGB', 'PNG'), 'either'),
    'BMP inside': (_as('RGB', 'BMP'), 'either'),
    'GIF inside': (_as('P', 'GIF'), 'either'),
    'TIFF inside': (_as('RGB', 'TIFF'), 'either'),
    'WebP inside': (_as('RGB', 'WEBP'), 'either'),
    'gray': (_as('L', 'JPEG'), 'either'),
    'CMYK': (_as('CMYK', 'JPEG'), 'either'),
    'palette': (_as('P', 'PNG'), 'either'),
    'with transparency': (_as('RGBA', 'PNG'), 'either'),
    'gray with transparency': (_as('LA', 'PNG'), 'either'),
    '16 bit': (_as('I;16', 'PNG'), 'either'),
    'one bit': (_as('1', 'PNG'), 'either'),
    'progressive': (_as('RGB', 'JPEG', progressive=True), 'survived'),
    'one pixel': (_sized(1, 1), 'named'),
    'another size': (_sized(48, 80), 'named'),
    'turned by EXIF': (_rotated, 'named'),
    'a billion pixels': (
        _bytes(lambda b: _png(60_000, 60_000)), 'clear'
    ),
    'no pixels': (_bytes(lambda b: _png(0, 0)), 'clear'),
    'fewer bytes than pixels': (_bytes(lambda b: _png(64, 64)), 'clear'),
}  # fmt: skip


def _image(write: Callable[[Path], None]) -> Callable[[Place], Command]:
    def prepare(place: Place) -> Command:
        write(data_of(place) / 'train' / '000003.jpg')
        return train_on(place)

    return prepare


def _map(write: Callable[[Path], Any], every: bool = False) -> Any:
    def prepare(place: Place) -> Command:
        data = place.copy(place.toys.cities, 'cities')
        maps = sorted((data / 'gtFine' / 'train').rglob('*TrainIds.png'))
        for path in maps if every else maps[2:3]:
            write(path)
        return Command(
            'train',
            [place.toys.seg, '--work-dir', 'work', '--data-root', 'cities'],
        )

    return prepare


def _values(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(path), change(values))

    return write


_MAPS: dict[str, tuple[Callable[[Path], Any], bool, str]] = {
    'a value out of range': (
        _values(lambda v: np.where(v == v.max(), 77, v)), False, 'clear'
    ),
    'all out of range': (_values(lambda v: v * 0 + 200), True, 'clear'),
    'classes from 1': (_values(lambda v: v + 1), True, 'clear'),
    'all ignored': (_values(lambda v: v * 0 + 255), True, 'clear'),
    'one all ignored': (_values(lambda v: v * 0 + 255), False, 'either'),
    'nothing but background': (_values(lambda v: v * 0), True, 'named'),
    'black and white': (
        _values(lambda v: (v > 0).astype(np.uint8) * 254), True, 'clear'
    ),
    'another size': (_values(lambda v: v[:30, :40]), False, 'clear'),
    'coloured': (
        _values(lambda v: np.stack([v * 40, v * 9, v], -1)), True, 'clear'
    ),
    'with transparency': (
        _values(lambda v: np.stack([v, v, v, v * 0 + 255], -1)), True,
        'either',
    ),
    '16 bit': (
        _values(lambda v: v.astype(np.uint16) * 257), True, 'clear'
    ),
    'one pixel': (_values(lambda v: v[:1, :1]), False, 'clear'),
    'cut short': (_bytes(lambda b: b[: len(b) // 2]), False, 'clear'),
    'empty': (_bytes(lambda b: b''), False, 'clear'),
    'a web page': (_bytes(lambda b: b'<html></html>'), False, 'clear'),
    'a JPEG': (
        lambda path: Image.open(path).save(path, 'JPEG', quality=20), False,
        'either',
    ),
    'missing': (_replaced(lambda path: None), False, 'clear'),
    'a folder': (_replaced(lambda path: path.mkdir()), False, 'clear'),
    'all missing': (_replaced(lambda path: None), True, 'clear'),
}  # fmt: skip


def _cifar(
    name: str, change: Callable[[Any, Place], Any]
) -> Callable[[Place], Command]:
    """Return what spoils a file of CIFAR's; bytes are taken as they are."""

    def prepare(place: Place) -> Command:
        data = place.copy(place.toys.cifar, 'cifar')
        path = data / 'cifar-100-python' / name
        content = change(pickle.loads(path.read_bytes()), place)
        path.unlink()
        if content is _FOLDER:
            path.mkdir()
        elif content is not _GONE:
            if not isinstance(content, bytes):
                content = pickle.dumps(content, protocol=2)
            path.write_bytes(content)
        return Command(
            'train',
            [place.toys.cls, '--work-dir', 'work', '--data-root', 'cifar'],
        )

    return prepare


_FOLDER, _GONE = object(), object()


def _nested(depth: int) -> bytes:
    return b'\x80\x02' + b']' * depth + b'a' * (depth - 1) + b'.'


def _laughs() -> list[Any]:
    content: list[Any] = [b'lol']
    for _ in range(60):
        content = [content, content]
    return content


_CIFAR: dict[str, tuple[str, Callable[[Any, Place], Any]]] = {
    'runs os.system': (
        'train', lambda c, p: Call(os.system, f'touch {p.marker}')
    ),
    'meta runs eval': (
        'meta',
        lambda c, p: Call(eval, f'open({str(p.marker)!r}, "w").close()'),
    ),
    'hostile among the labels': (
        'train',
        lambda c, p: {**c, b'fine_labels': [Call(os.mkdir, str(p.marker))]},
    ),
    'cut short': ('train', lambda c, p: pickle.dumps(c)[:2000]),
    'empty': ('train', lambda c, p: b''),
    'text': ('test', lambda c, p: b'Not found'),
    'a folder': ('train', lambda c, p: _FOLDER),
    'missing': ('test', lambda c, p: _GONE),
    'a list': ('train', lambda c, p: [c]),
    'no images': ('train', lambda c, p: {b'fine_labels': [1]}),
    'images are none': (
        'train', lambda c, p: {**c, b'data': c[b'data'][:0],
                               b'fine_labels': []}
    ),
    'images are floats': (
        'train', lambda c, p: {**c, b'data': c[b'data'] / 255.0}
    ),
    'images of another size': (
        'train', lambda c, p: {**c, b'data': c[b'data'][:, :100]}
    ),
    'images are a text': ('train', lambda c, p: {**c, b'data': 'pixels'}),
    'labels out of range': (
        'train', lambda c, p: {**c, b'fine_labels': [
            9 for _ in c[b'fine_labels']]}
    ),
    'labels negative': (
        'test', lambda c, p: {**c, b'fine_labels': [
            -1 for _ in c[b'fine_labels']]}
    ),
    'labels too few': (
        'train', lambda c, p: {**c, b'fine_labels': c[b'fine_labels'][1:]}
    ),
    'labels are texts': (
        'train', lambda c, p: {**c, b'fine_labels': [
            'cat' for _ in c[b'fine_labels']]}
    ),
    'labels of 5000 digits': (
        'train', lambda c, p: {**c, b'fine_labels': [
            10**5000 for _ in c[b'fine_labels']]}
    ),
    'labels of CIFAR-10': (
        'train', lambda c, p: {b'data': c[b'data'], b'labels': [1]}
    ),
    'no names': ('meta', lambda c, p: {}),
    'names the same': ('meta', lambda c, p: {b'fine_label_names': [b'a'] * 4}),
    'names are numbers': ('meta', lambda c, p: {b'fine_label_names': [1, 2]}),
    'nested without end': ('train', lambda c, p: _nested(100_000)),
    'billion laughs': ('meta', lambda c, p: {b'x': _laughs()}),
    'billion laughs for labels': (
        'train', lambda c, p: {**c, b'fine_labels': _laughs()}
    ),
    'a list of gigabytes': (
        'train', lambda c, p: b'\x80\x02' + b'\x8e' + b'\xff' * 8 + b'x.'
    ),
}  # fmt: skip


def cases() -> list[Case]:
    """Return them."""
    found = [
        Case(
            name, 'images', _image(write), expect,
            () if expect == 'survived' else (r'000003\.jpg',),
        )
        for name, (write, expect) in _IMAGES.items()
    ]  # fmt: skip
    found += [
        Case(
            name, 'label maps', _map(write, every), expect,
            ('TrainIds|gtFine|label map',),
        )
        for name, (write, every, expect) in _MAPS.items()
    ]  # fmt: skip
    return found + [
        Case(
            f'{file}: {name}', "CIFAR-100's files", _cifar(file, change),
            'either' if name == 'billion laughs' else 'clear',
            (f'cifar-100-python/{file}|file {file}',),
        )
        for name, (file, change) in _CIFAR.items()
    ]  # fmt: skip
