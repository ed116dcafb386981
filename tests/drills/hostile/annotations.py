"""Cases: annotation files."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from typing import Any

from hostile.harness import Case, Command, Place

AREA = 'annotations'
_FILE = r'instances_train\.json'


def data_of(place: Place) -> Any:
    """Return a copy of the shapes, to be spoiled."""
    return place.copy(place.toys.shapes, 'data')


def train_on(place: Place, *options: object) -> Command:
    """Return a training of the plain detector on the copy."""
    arguments: list[object] = [place.toys.plain, '--work-dir', 'work']
    arguments += ['--data-root', 'data']
    if options:
        arguments += ['--cfg-options', *options]
    return Command('train', arguments)


def _of_file(change: Callable[[bytes], bytes]) -> Callable[[Place], Command]:
    def prepare(place: Place) -> Command:
        path = data_of(place) / 'annotations' / 'instances_train.json'
        path.write_bytes(change(path.read_bytes()))
        return train_on(place)

    return prepare


def _of_content(
    change: Callable[[dict[str, Any]], Any], *options: str
) -> Callable[[Place], Command]:
    def prepare(place: Place) -> Command:
        path = data_of(place) / 'annotations' / 'instances_train.json'
        content = json.loads(path.read_text())
        result = change(content)
        path.write_text(json.dumps(content if result is None else result))
        return train_on(place, *options)

    return prepare


_FILES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    'cut short': (lambda b: b[: len(b) // 2], 'clear'),
    'empty': (lambda b: b'', 'clear'),
    'zeros': (lambda b: bytes(len(b)), 'clear'),
    'bytes at random': (lambda b: bytes(range(256)) * 20, 'clear'),
    'a web page': (lambda b: b'<!DOCTYPE html><html></html>', 'clear'),
    'a pointer of git lfs': (
        lambda b: b'version https://git-lfs.github.com/spec/v1\n', 'clear'
    ),
    'compressed': (gzip.compress, 'clear'),
    'UTF-16': (lambda b: b.decode().encode('utf-16'), 'clear'),
    'with a byte order mark': (lambda b: b'\xef\xbb\xbf' + b, 'either'),
    'a list': (lambda b: b'[' + b + b']', 'clear'),
    'a text': (lambda b: json.dumps(b.decode()).encode(), 'clear'),
    'a number': (lambda b: b'3', 'clear'),
    'null': (lambda b: b'null', 'clear'),
    'lists nested without end': (lambda b: b'[' * 200_000, 'clear'),
    'objects nested without end': (
        lambda b: b'{"images":' * 100_000, 'clear'
    ),
    'an extra nested without end': (
        lambda b: b'{"extra": ' + b'[' * 60_000 + b']' * 60_000 + b','
        + b.lstrip()[1:], 'either',
    ),
    'a number of 5000 digits': (
        lambda b: b.replace(b'"bbox": [', b'"bbox": [' + b'9' * 5000 + b','),
        'clear',
    ),
    'a width of 5000 digits': (
        lambda b: b.replace(b'"width": 64', b'"width": ' + b'9' * 5000),
        'clear',
    ),
    'an exponent without end': (
        lambda b: b.replace(b'"area": ', b'"area": 1e999999, "was": '),
        'clear',
    ),
    'NaN for an area': (
        lambda b: b.replace(b'"area": ', b'"area": NaN, "was": '), 'clear'
    ),
    'a comma too many': (lambda b: b.rstrip()[:-1] + b',}', 'clear'),
    'two files in one': (lambda b: b + b, 'clear'),
    'YAML': (lambda b: b'images: []\nannotations: []\n', 'clear'),
    'python': (lambda b: b"{'images': []}", 'clear'),
    'half a surrogate': (
        lambda b: b.replace(b'.jpg', b'\\ud800.jpg', 1), 'clear'
    ),
}  # fmt: skip


def _put(key: str, field: str, value: Any, every: bool = False) -> Any:
    """Return what sets a field of the second entry, or of all."""

    def change(content: dict[str, Any]) -> None:
        entries = content[key] if every else content[key][1:2]
        for entry in entries:
            if value is _GONE:
                del entry[field]
            else:
                entry[field] = value

    return change


def _top(key: str, value: Any) -> Any:
    def change(content: dict[str, Any]) -> None:
        if value is _GONE:
            del content[key]
        else:
            content[key] = value

    return change


def _each(key: str, change: Callable[[int, dict[str, Any]], Any]) -> Any:
    def act(content: dict[str, Any]) -> None:
        for number, entry in enumerate(content[key]):
            change(number, entry)

    return act


_GONE = object()
_INF = float('inf')
# Of what is wrong: the change, and what is right.
_CONTENTS: dict[str, tuple[Any, str]] = {
    'no images': (_top('images', _GONE), 'clear'),
    'images are none': (_top('images', []), 'clear'),
    'images are an object': (_top('images', {}), 'clear'),
    'images are null': (_top('images', None), 'clear'),
    'images are texts': (_top('images', ['a.jpg']), 'clear'),
    'no annotations': (_top('annotations', _GONE), 'clear'),
    'annotations are none': (_top('annotations', []), 'clear'),
    'annotations are null': (_top('annotations', None), 'clear'),
    'annotations are numbers': (_top('annotations', [1, 2]), 'clear'),
    'no categories': (_top('categories', _GONE), 'clear'),
    'categories are none': (_top('categories', []), 'clear'),
    'categories of other names': (
        _each('categories', lambda i, e: e.update(name=f'thing {i}')),
        'clear',
    ),
    'categories of the same name': (
        _put('categories', 'name', 'circle', True), 'clear'
    ),
    'categories of the same id': (_put('categories', 'id', 1, True), 'clear'),
    'category without a name': (_put('categories', 'name', _GONE), 'clear'),
    'category id is a list': (_put('categories', 'id', [1]), 'clear'),
    'image without an id': (_put('images', 'id', _GONE), 'clear'),
    'image id is null': (_put('images', 'id', None), 'clear'),
    'image id is a list': (_put('images', 'id', [1]), 'clear'),
    'image ids are the same': (_put('images', 'id', 1, True), 'clear'),
    'image without a file': (_put('images', 'file_name', _GONE), 'clear'),
    'image file is a number': (_put('images', 'file_name', 3), 'clear'),
    'image file is empty': (_put('images', 'file_name', ''), 'clear'),
    'image file is a folder': (_put('images', 'file_name', '.'), 'clear'),
    'image file has a null byte': (
        _put('images', 'file_name', 'a\0b.jpg'), 'clear'
    ),
    'image file of 9000 letters': (
        _put('images', 'file_name', 'a' * 9000 + '.jpg'), 'clear'
    ),
    'image file is not there': (
        _put('images', 'file_name', 'gone.jpg'), 'clear'
    ),
    'image width is 0': (_put('images', 'width', 0), 'clear'),
    'image width is negative': (_put('images', 'width', -64), 'clear'),
    'image width is a text': (_put('images', 'width', '64'), 'clear'),
    'image width is null': (_put('images', 'width', None), 'clear'),
    'image width is true': (_put('images', 'width', True), 'clear'),
    'image width is another': (_put('images', 'width', 4096), 'clear'),
    'all widths are others': (_put('images', 'width', 9, True), 'clear'),
    'width and height changed over': (
        _each('images', lambda i, e: e.update(width=64, height=48)), 'clear'
    ),
    'no image sizes': (_put('images', 'height', _GONE, True), 'clear'),
    'annotation without an image': (
        _put('annotations', 'image_id', 999), 'clear'
    ),
    'annotation of image null': (
        _put('annotations', 'image_id', None), 'clear'
    ),
    'image ids as texts': (
        _each('annotations', lambda i, e: e.update(
            image_id=str(e['image_id']))), 'clear'
    ),
    'annotation ids are the same': (
        _put('annotations', 'id', 1, True), 'clear'
    ),
    'annotation without an id': (_put('annotations', 'id', _GONE), 'clear'),
    'all of unknown categories': (
        _put('annotations', 'category_id', 99, True), 'clear'
    ),
    'nearly all of unknown categories': (
        _each('annotations', lambda i, e: i and e.update(category_id=99)),
        'named',
    ),
    'category is a text': (_put('annotations', 'category_id', '1'), 'named'),
    'category is a list': (_put('annotations', 'category_id', [1]), 'clear'),
    'a category off by one': (
        _each('annotations', lambda i, e: e.update(
            category_id=e['category_id'] + 1)), 'named'
    ),
    'no box': (_put('annotations', 'bbox', _GONE), 'clear'),
    'box of three numbers': (_put('annotations', 'bbox', [1, 2, 3]), 'clear'),
    'box of five numbers': (
        _put('annotations', 'bbox', [1, 2, 3, 4, 5]), 'clear'
    ),
    'box of texts': (_put('annotations', 'bbox', list('1234')), 'clear'),
    'box is null': (_put('annotations', 'bbox', None), 'clear'),
    'box is nested': (_put('annotations', 'bbox', [[1, 2, 3, 4]]), 'clear'),
    'box with null': (
        _put('annotations', 'bbox', [1, 2, None, 4]), 'clear'
    ),
    'box is infinite': (
        _put('annotations', 'bbox', [1, 2, _INF, 4]), 'clear'
    ),
    'box is NaN': (
        _put('annotations', 'bbox', [1, float('nan'), 3, 4]), 'clear'
    ),
    'all boxes without a width': (
        _put('annotations', 'bbox', [5, 5, 0, 9], True), 'clear'
    ),
    'all boxes of negative size': (
        _put('annotations', 'bbox', [30, 30, -9, -9], True), 'clear'
    ),
    'all boxes under a pixel': (
        _put('annotations', 'bbox', [5, 5, 0.2, 0.2], True), 'clear'
    ),
    'all boxes beside the image': (
        _put('annotations', 'bbox', [900, 900, 20, 20], True), 'clear'
    ),
    'all boxes from 0 to 1': (
        _put('annotations', 'bbox', [0.1, 0.1, 0.5, 0.5], True), 'clear'
    ),
    'all boxes as corners': (
        _each('annotations', lambda i, e: e.update(
            bbox=[e['bbox'][0], e['bbox'][1], 64, 64])), 'named'
    ),
    'one box without a width': (
        _put('annotations', 'bbox', [5, 5, 0, 9]), 'named'
    ),
    'one box beside the image': (
        _put('annotations', 'bbox', [900, 900, 20, 20]), 'named'
    ),
    'a box beyond all numbers': (
        _put('annotations', 'bbox', [1, 1, 1e300, 1e300]), 'named'
    ),
    'area is 0 in all': (_put('annotations', 'area', 0, True), 'clear'),
    'area is negative in all': (
        _put('annotations', 'area', -5.0, True), 'clear'
    ),
    'no area': (_put('annotations', 'area', _GONE, True), 'clear'),
    'area is a text': (_put('annotations', 'area', 'big'), 'clear'),
    'all are crowds': (_put('annotations', 'iscrowd', 1, True), 'clear'),
    'iscrowd is a text': (_put('annotations', 'iscrowd', 'no'), 'clear'),
}  # fmt: skip
_MASKS: dict[str, Any] = {
    'masks of odd numbers': [[1, 2, 3]],
    'masks of two points': [[1, 2, 3, 4]],
    'masks of texts': [['a', 'b', 'c', 'd', 'e', 'f']],
    'masks are null': None,
    'masks are a text': 'polygon',
    'masks with NaN': [[1, 2, 3, float('nan'), 5, 6]],
    'run lengths of nonsense': {'counts': 'zzzz~~~', 'size': [64, 64]},
    'run lengths of another size': {'counts': [9, 9], 'size': [3, 6]},
    'run lengths without a size': {'counts': [4096]},
}


def _own_categories(place: Place) -> Command:
    data_of(place)
    path = place.home / 'data' / 'annotations' / 'instances_train.json'
    content = json.loads(path.read_text())
    for entry in content['categories']:
        entry['name'] = f'part {entry["id"]}'
    path.write_text(json.dumps(content))
    text = place.toys.text(_text(place.toys.plain))
    config = place.write(
        'own.py', text.replace('        metainfo=dict(classes=classes),\n', '')
    )
    return Command(
        'train', [config, '--work-dir', 'work', '--data-root', 'data']
    )


def _text(path: Any) -> str:
    return str(path.read_text()).replace('{', '{{').replace('}', '}}')


def _with_masks(value: Any) -> Callable[[Place], Command]:
    def prepare(place: Place) -> Command:
        path = data_of(place) / 'annotations' / 'instances_train.json'
        content = json.loads(path.read_text())
        for entry in content['annotations']:
            entry['segmentation'] = value
        path.write_text(json.dumps(content))
        return _masked(place, True)

    return prepare


def _masked(place: Place, poly2mask: bool) -> Command:
    text = place.toys.plain.read_text().replace(
        "dict(type='LoadAnnotations', with_bbox=True),\n    dict(type='Rand",
        "dict(type='LoadAnnotations', with_bbox=True, with_mask=True, "
        f"poly2mask={poly2mask}),\n    dict(type='Rand",
    )
    config = place.write('masked.py', text)
    return Command(
        'train', [config, '--work-dir', 'work', '--data-root', 'data']
    )


def _run_lengths(place: Place) -> Command:
    """Give all objects run lengths, which poly2mask=False drops."""
    path = data_of(place) / 'annotations' / 'instances_train.json'
    content = json.loads(path.read_text())
    for entry in content['annotations']:
        entry['segmentation'] = {'counts': [100, 50, 3946], 'size': [64, 64]}
    path.write_text(json.dumps(content))
    return _masked(place, False)


def _with_backgrounds(place: Place) -> Command:
    """Join a file of backgrounds, which has no object, to the data."""
    data = data_of(place)
    path = data / 'annotations' / 'instances_train.json'
    content = json.loads(path.read_text())
    content['annotations'] = []
    (data / 'annotations' / 'backgrounds.json').write_text(json.dumps(content))
    config = place.write(
        'joined.py',
        f"""_base_ = ['{place.toys.plain}']
part = dict(
    type='CocoDataset', data_root='{data}',
    metainfo=dict(classes={{{{_base_.classes}}}}),
    data_prefix=dict(img='train/'), pipeline={{{{_base_.train_pipeline}}}})
train_dataloader = dict(dataset=dict(
    _delete_=True, type='ConcatDataset', ignore_keys=['dataset_type'],
    datasets=[
        dict(ann_file='annotations/instances_train.json', **part),
        dict(ann_file='annotations/backgrounds.json', **part)]))
""",
    )
    return Command('train', [config, '--work-dir', 'work'])


def _no_file(place: Place) -> Command:
    (data_of(place) / 'annotations' / 'instances_train.json').unlink()
    return train_on(place)


def _folder(place: Place) -> Command:
    path = data_of(place) / 'annotations' / 'instances_train.json'
    path.unlink()
    path.mkdir()
    return train_on(place)


def _no_images(place: Place) -> Command:
    shutil.rmtree(data_of(place) / 'train')
    return train_on(place)


def _root_is_a_file(place: Place) -> Command:
    place.write('data', 'no folder')
    return train_on(place)


def cases() -> list[Case]:
    """Return them."""
    found = [
        # Of half a surrogate, the image that is so named is missing.
        Case(
            f'file: {name}',
            AREA,
            _of_file(change),
            expect,
            (f'{_FILE}|surrogate|ud800',),
        )
        for name, (change, expect) in _FILES.items()
    ]
    found += [
        Case(name, AREA, _of_content(change), expect, (_words(name),))
        for name, (change, expect) in _CONTENTS.items()
    ]
    found += [
        Case(name, AREA, _with_masks(value), 'clear', (_FILE + '|mask',))
        for name, value in _MASKS.items()
    ]
    words = ('instances_train|segmentation|poly2mask|object',)
    return found + [
        Case('run lengths kept as such', AREA, _run_lengths, 'clear', words),
        Case(
            'own categories without metainfo', AREA, _own_categories, 'clear',
            ('metainfo',),
        ),
        Case(
            'joined with backgrounds', AREA, _with_backgrounds, 'survived',
            check=lambda p: (p.work / 'epoch_2.pth').is_file(),
        ),
        Case('no such file', AREA, _no_file, 'clear', (_FILE,)),
        Case('file is a folder', AREA, _folder, 'clear', (_FILE,)),
        Case('folder of images is gone', AREA, _no_images, 'clear',
             ('train',)),
        Case('data root is a file', AREA, _root_is_a_file, 'clear',
             ('data_root|data root',)),
    ]  # fmt: skip


def _words(name: str) -> str:
    # An image's own file is what is wrong, too.
    return f'{_FILE}|data_prefix|metainfo' + (
        r'|\.jpg' if 'image' in name or 'width' in name else ''
    )
