"""Check what is said of annotation files that cannot be used."""

import copy
import json
import math
import os

import pytest
from mmengine.config import Config

from mmtst.datasets import annotations, check_annotations
from mmtst.utils.errors import ConfigError

GOOD = dict(
    images=[
        dict(id=1, file_name='a.jpg', height=4, width=4),
        dict(id=2, file_name='b.jpg', height=4, width=4),
    ],
    annotations=[
        dict(id=7, image_id=1, category_id=3, bbox=[0, 0, 2, 2], area=4)
    ],
    categories=[dict(id=3, name='cell'), dict(id=4, name='dust')],
)


GONE = object()


def check(root, content, classes=('cell',), **changes):
    text = content if isinstance(content, str) else json.dumps(content)
    (root / 'ann.json').write_text(text)
    (root / 'img').mkdir(exist_ok=True)
    for name in ('a.jpg', 'b.jpg'):
        path = root / 'img' / name
        if not path.exists():
            path.write_bytes(b'some')
    dataset = dict(
        type='CocoDataset',
        data_root=str(root),
        ann_file='ann.json',
        metainfo=dict(classes=classes),
        data_prefix=dict(img='img/'),
    )
    dataset.update(changes)
    cfg = Config(dict(train_dataloader=dict(dataset=dataset)))
    return check_annotations(cfg, ('train',))


def test_images_with_objects_are_counted(tmp_path):
    assert check(tmp_path, GOOD) == {'train_dataloader.dataset': 1}


def changed(**changes):
    return copy.deepcopy(GOOD) | changes


def edited(key, number, **changes):
    content = copy.deepcopy(GOOD)
    entry = content[key][number] | changes
    content[key][number] = {k: v for k, v in entry.items() if v is not GONE}
    return content


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('', 'is not JSON'),
        ('[]', 'not in COCO layout'),
        (dict(images=[]), 'not in COCO layout'),
        (changed(images=[]), 'has no images'),
        (changed(annotations=[]), 'has no object of the classes'),
        (
            edited('annotations', 0, image_id=9),
            'belongs to no image',
        ),
    ],
)
def test_malformed_files(tmp_path, content, message):
    with pytest.raises(ConfigError, match=message) as error:
        check(tmp_path, content)
    assert 'train_dataloader.dataset.ann_file' in str(error.value)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (edited('images', 1, id=GONE), r'images\[1\] .* has no id'),
        (edited('images', 1, id=[2]), r'images\[1\] .* not an id: \[2\]'),
        (edited('images', 1, id=1), r'images\[1\] .* id 1 of another'),
        (edited('images', 0, file_name=GONE), r'images\[0\] .* no file_name'),
        (edited('images', 0, file_name=3), 'file_name that is not a name: 3'),
        (edited('images', 0, width='4'), "width that is not a finite .*: '4'"),
        (edited('annotations', 0, image_id=GONE), 'has no image_id'),
        (edited('annotations', 0, category_id=GONE), 'has no category_id'),
        (edited('annotations', 0, area=GONE), 'has no area'),
        (edited('annotations', 0, bbox=GONE), r'annotations\[0\] .* no bbox'),
        (edited('annotations', 0, bbox=[0, 0, 2]), '4 finite numbers'),
        (edited('annotations', 0, bbox=[0, 0, 2, '2']), '4 finite numbers'),
        (edited('annotations', 0, bbox=[0, 0, 2, math.nan]), '4 finite'),
        (edited('annotations', 0, bbox='none'), "numbers: 'none'"),
        (edited('categories', 1, id=GONE), r'categories\[1\] .* no id'),
        (edited('categories', 1, name=GONE), r'categories\[1\] .* no name'),
        (changed(images=[1]), r'images\[0\] .* is not an object: 1'),
    ],
)
def test_malformed_entries_are_named(tmp_path, content, message):
    with pytest.raises(ConfigError, match=message) as error:
        check(tmp_path, content)
    assert 'train_dataloader.dataset.ann_file' in str(error.value)
    assert str(tmp_path / 'ann.json') in str(error.value)


def test_unreadable_file(tmp_path):
    with pytest.raises(ConfigError, match='cannot be read'):
        check(tmp_path, GOOD, ann_file='')


def test_unknown_classes_are_shown_beside_the_files(tmp_path):
    with pytest.raises(ConfigError, match='allowed: cell, dust'):
        check(tmp_path, GOOD, classes=('car',))


def test_missing_images_are_found_at_once(tmp_path):
    content = copy.deepcopy(GOOD)
    content['images'][1]['file_name'] = 'c.jpg'
    with pytest.raises(ConfigError, match='1 of 2 images are not') as error:
        check(tmp_path, content)
    assert str(tmp_path / 'img' / 'c.jpg') in str(error.value)


def test_empty_images_are_found_and_the_first_ones_named(tmp_path):
    content = copy.deepcopy(GOOD)
    (tmp_path / 'img' / 'deep').mkdir(parents=True)
    for number in range(10, 15):
        name = f'deep/{number}.jpg'
        (tmp_path / 'img' / name).touch()
        image = dict(id=number, file_name=name, height=4, width=4)
        content['images'].append(image)
    with pytest.raises(ConfigError, match='5 of 7 images are empty') as error:
        check(tmp_path, content)
    for name in ('10.jpg', '11.jpg', '12.jpg', '2 more'):
        assert name in str(error.value)
    assert '13.jpg' not in str(error.value)
    assert 'train_dataloader.dataset.data_prefix.img' in str(error.value)


def test_folders_are_listed_once_and_good_files_not_asked_for(
    tmp_path, monkeypatch
):
    listed = []
    scandir = os.scandir
    monkeypatch.setattr(
        os, 'scandir', lambda path: listed.append(path) or scandir(path)
    )
    asked = []
    monkeypatch.setattr(os.path, 'getsize', asked.append)
    check(tmp_path, GOOD)
    assert len(listed) == 1
    assert asked == []


def test_a_file_system_may_spell_names_otherwise(tmp_path, monkeypatch):
    monkeypatch.setattr(annotations, '_file_sizes', lambda folder, names: {})
    assert check(tmp_path, GOOD) == {'train_dataloader.dataset': 1}


REMOTE = dict(type='LoadImageFromFile', backend_args=dict(backend='petrel'))


@pytest.mark.parametrize(
    'changes',
    [
        dict(pipeline=[REMOTE]),
        dict(data_prefix=dict(img='s3://bucket/')),
        dict(data_prefix=dict(img='images.zip')),
    ],
)
def test_images_elsewhere_are_passed_over(tmp_path, changes):
    (tmp_path / 'images.zip').touch()
    (tmp_path / 'img').mkdir()
    (tmp_path / 'img' / 'a.jpg').touch()
    with pytest.raises(ConfigError, match='empty'):
        check(tmp_path, GOOD)
    assert check(tmp_path, GOOD, **changes) == {'train_dataloader.dataset': 1}


def test_other_data_sets_are_passed_over():
    dataset = dict(type='CityscapesDataset', data_root='nowhere')
    cfg = Config(dict(val_dataloader=dict(dataset=dataset)))
    assert check_annotations(cfg) == {}
