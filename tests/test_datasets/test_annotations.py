"""Check what is said of annotation files that cannot be used."""

import contextlib
import copy
import json
import math
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmengine.config import Config, ConfigDict
from mmengine.logging import MMLogger
from PIL import Image

from mmtst.datasets import (
    annotation_images,
    annotation_reading,
    check_annotations,
)
from mmtst.datasets.annotation_cleaning import clean_annotations
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
            '1 of 1 annotations belong to no image',
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


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('[' * 100_000, 'nested'),
        ('{"images": ' + '[' * 400 + ']' * 400 + '}', 'COCO layout'),
        ('{"images": [{"id": ' + '1' * 5000 + '}]}', '5000 digits'),
        ('\ufeff{"images": []}', 'not JSON'),
        ('{"images": [', 'not JSON'),
    ],
    ids=range(5),
)
def test_json_without_bounds(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message) as error:
        check(tmp_path, text)
    assert str(tmp_path / 'ann.json') in str(error.value)


@pytest.mark.parametrize('number', ['1e400', 'NaN', '-Infinity'])
@pytest.mark.parametrize('field', ['area', 'bbox', 'width', 'id'])
def test_numbers_that_are_not_finite_are_placed(tmp_path, field, number):
    key = 'images' if field == 'width' else 'annotations'
    content = edited(key, 0, **{field: 'HERE' if field != 'bbox' else [0] * 3})
    text = json.dumps(content).replace('"HERE"', number)
    text = text.replace('[0, 0, 0]', f'[0, 0, 2, {number}]')
    with pytest.raises(ConfigError, match=rf'{key}\[0\].* has a {field}'):
        check(tmp_path, text)


def test_entries_of_one_fault_are_counted(tmp_path):
    content = changed(annotations=[{}, *GOOD['annotations'], {}, {}])
    with pytest.raises(ConfigError, match='has no id .and 2 more') as error:
        check(tmp_path, content)
    assert 'annotations[0], annotations[2], annotations[3]' in str(error.value)


def test_unreadable_file(tmp_path):
    with pytest.raises(ConfigError, match='is not a file'):
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
    monkeypatch.setattr(
        annotation_images, '_file_sizes', lambda folder, names: {}
    )
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


def boxes(*boxes, **changes):
    """Return a file with these boxes in an image of 4 x 4."""
    return changed(
        annotations=[
            GOOD['annotations'][0] | dict(id=i, bbox=box) | changes
            for i, box in enumerate(boxes)
        ]
    )


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (boxes([0, 0, 0, 2], [0, 0, 2, -1]), '2 of 2 .* under one pixel'),
        (boxes([0, 0, 0.5, 2]), '1 of 1 .* under one pixel'),
        (boxes([4, 0, 2, 2], [-3, 0, 2, 2]), '2 of 2 .* wholly outside'),
        (boxes([0, 0, 2, 2], area=0), '1 of 1 .* area of 0 or less'),
        (boxes([0, 0, 2, 2], iscrowd=1), '1 of 1 are crowds'),
        (boxes([0, 0, 2, 2], ignore=1), 'no object of the classes'),
        (edited('images', 0, width=0), 'wholly outside'),
        (
            boxes([0, 0, 2, 2], [0, 0, 2, 2], category_id=9),
            '2 of 2 annotations are of categories that the file does not',
        ),
    ],
)
def test_a_file_of_which_nothing_is_used(tmp_path, content, reason):
    with pytest.raises(ConfigError, match=reason) as error:
        check(tmp_path, content)
    assert str(tmp_path / 'ann.json') in str(error.value)


@pytest.fixture
def log(caplog):
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


FEW = boxes(*[[0, 0, 2, 2]] * 5, [0, 0, 0, 2], [9, 9, 2, 2], [2, 2, 9, 9])


def test_a_few_faults_are_counted_in_the_log(tmp_path, log):
    content = copy.deepcopy(FEW)
    content['annotations'][0]['area'] = 0
    content['annotations'][1]['category_id'] = 9
    assert check(tmp_path, content) == {'train_dataloader.dataset': 1}
    for note in (
        '1 of 7 objects have a box of under one pixel, and are dropped, for '
        'example annotation 5 of image 1',
        '1 of 7 objects lie wholly outside of their image, and are dropped, '
        'for example annotation 6',
        '1 of 7 objects have an area of 0 or less, and are dropped',
        '1 of 7 objects have a box that leaves its image, for example '
        'annotation 7',
        '1 of 8 annotations are of categories that the file does not have, '
        'for example annotation 1 of category 9',
    ):
        assert note in log.text


def test_most_objects_dropped_is_no_detail(tmp_path):
    content = boxes([0, 0, 2, 2], *[[0, 0, 0, 0]] * 3)
    with pytest.raises(ConfigError, match='3 of 4 objects have a box'):
        check(tmp_path, content)


def several(root, *contents, **changes):
    """Check a concatenation of files."""
    (root / 'img').mkdir()
    for name in ('a.jpg', 'b.jpg'):
        (root / 'img' / name).write_bytes(b'some')
    parts = []
    for number, content in enumerate(contents):
        (root / f'{number}.json').write_text(json.dumps(content))
        part = dict(
            type='CocoDataset',
            data_root=str(root),
            ann_file=f'{number}.json',
            metainfo=dict(classes=('cell', 'dust')),
            data_prefix=dict(img='img/'),
        )
        parts.append(part | changes)
    dataset = dict(type='ConcatDataset', datasets=parts)
    cfg = Config(dict(train_dataloader=dict(dataset=dataset)))
    return list(check_annotations(cfg, ('train',)).values())


EMPTY = changed(annotations=[])


@pytest.mark.parametrize('none', [EMPTY, EMPTY | dict(categories=[])])
def test_backgrounds_beside_objects_are_fine(tmp_path, none):
    assert several(tmp_path, none, GOOD, none) == [0, 1, 0]


def test_backgrounds_alone_are_not(tmp_path):
    with pytest.raises(ConfigError, match='no object') as error:
        several(tmp_path, EMPTY, EMPTY)
    assert 'datasets[0].ann_file' in str(error.value)


def test_a_filter_that_leaves_no_image_is_named(tmp_path):
    rules = dict(filter_cfg=dict(filter_empty_gt=True, min_size=2))
    message = 'drops 2 of 2 images: 2 without an object .*, 0 smaller'
    with pytest.raises(ConfigError, match=message) as error:
        several(tmp_path, EMPTY, GOOD, **rules)
    assert 'filter_empty_gt=False' in str(error.value)


def test_what_the_filter_drops_is_counted(tmp_path, log):
    rules = dict(filter_cfg=dict(filter_empty_gt=True))
    check(tmp_path, GOOD, **rules)
    assert 'filter_cfg drops 1 of 2 images' in log.text


def test_files_that_number_classes_differently_are_refused(tmp_path):
    other = changed(categories=GOOD['categories'][::-1])
    with pytest.raises(ConfigError, match='number the classes') as error:
        several(tmp_path, GOOD, other)
    assert "label 0 is 'cell' in " in str(error.value)
    assert "0.json, 'dust' here" in str(error.value)


def test_the_order_of_the_file_is_said(tmp_path, log):
    check(tmp_path, GOOD, classes=('dust', 'cell'))
    assert "label 0 is 'cell', not 'dust'" in log.text


def test_classes_of_one_name_are_refused(tmp_path):
    content = edited('categories', 1, name='cell')
    with pytest.raises(ConfigError, match='share a name'):
        check(tmp_path, content)


def test_without_metainfo_the_classes_are_those_of_coco(tmp_path):
    with pytest.raises(ConfigError, match='the 80 of COCO'):
        check(tmp_path, GOOD, metainfo=None)
    person = edited('categories', 0, name='person')
    assert list(check(tmp_path, person, metainfo=None).values()) == [1]


def test_classes_may_stand_in_a_file(tmp_path):
    names = tmp_path / 'names.txt'
    names.write_text('cell\ndust\n')
    assert list(check(tmp_path, GOOD, classes=str(names)).values()) == [1]


def masks(mask, poly2mask=True, **changes):
    load = dict(type='LoadAnnotations', with_mask=True, poly2mask=poly2mask)
    content = edited('annotations', 0, segmentation=mask)
    return content, dict(pipeline=[load]) | changes


TRIANGLE = [[0, 0, 3, 0, 3, 3]]
RUNS = dict(size=[4, 4], counts=[3, 3, 10])


@pytest.mark.parametrize(
    ('mask', 'poly2mask', 'message'),
    [
        (GONE, True, '1 of 1 objects have no mask'),
        ([], True, 'have no mask'),
        (TRIANGLE[0], True, 'no list of polygons'),
        ([['0'] * 6], True, 'no list of polygons'),
        ('text', True, 'no list of polygons'),
        ([[0, 0, 1e12, 0, 3, 3]], True, 'far off'),
        ([[0, 0, math.nan, 0, 3, 3]], True, 'not finite'),
        (RUNS | dict(size=[4, 5]), True, "do not fill their image's size"),
        (RUNS | dict(counts=[3, 3]), True, "do not fill their image's size"),
        (RUNS | dict(counts='zz'), True, "do not fill their image's size"),
        ([[0, 0, 3, 3]], True, 'without a polygon of three points'),
        ([[0, 0, 3, 3]], False, 'without a polygon of three points'),
        (RUNS, False, 'poly2mask=False ignores'),
        (dict(size=[4, 4]), True, 'without a polygon'),
    ],
)
def test_masks_that_cannot_be_used(tmp_path, mask, poly2mask, message):
    content, changes = masks(mask, poly2mask)
    with pytest.raises(ConfigError, match=message) as error:
        check(tmp_path, content, **changes)
    assert str(tmp_path / 'ann.json') in str(error.value)
    # Nobody loads them.
    assert list(check(tmp_path, content).values()) == [1]


@pytest.mark.parametrize('mask', [TRIANGLE, RUNS, RUNS | dict(counts='33:')])
def test_masks_that_are_used(tmp_path, mask):
    content, changes = masks(mask)
    assert list(check(tmp_path, content, **changes).values()) == [1]


LOAD = [dict(type='LoadImageFromFile')]


def write_images(root, **changes):
    (root / 'img').mkdir()
    for name in ('a', 'b'):
        image = Image.new('RGB', (4, 4), 'red')
        image.save(root / 'img' / f'{name}.jpg', **changes)


def test_images_are_looked_into(tmp_path):
    write_images(tmp_path)
    assert list(check(tmp_path, GOOD, pipeline=LOAD).values()) == [1]
    (tmp_path / 'img' / 'a.jpg').write_bytes(b'<html>404')
    with pytest.raises(ConfigError, match='1 of 2 images are web pages'):
        check(tmp_path, GOOD, pipeline=LOAD)


def test_sizes_that_contradict_are_refused(tmp_path):
    write_images(tmp_path)
    content = edited('images', 0, width=5)
    with pytest.raises(ConfigError, match='1 of 2 .* another size') as error:
        check(tmp_path, content, pipeline=LOAD)
    assert 'a.jpg (5 x 4, not 4 x 4)' in str(error.value)
    assert 'data_prefix.img' in str(error.value)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(data_prefix='img'), 'data_prefix is no dict'),
        (dict(metainfo=['cell']), 'metainfo is no dict'),
        (dict(metainfo=dict(classes=5)), 'no list of names'),
        (dict(metainfo=dict(classes=[5])), 'no list of names'),
        (dict(filter_cfg=True), 'filter_cfg is no dict'),
        (dict(filter_cfg=dict(min_size='32')), 'min_size is out of range'),
    ],
)
def test_options_that_mmdet_would_stop_at(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        check(tmp_path, GOOD, **changes)


HOSTILE = st.one_of(
    st.sampled_from(
        [
            None,
            True,
            -1,
            0,
            10**19,
            1e308,
            math.nan,
            -math.inf,
            '',
            '../' * 99,
            'x' * 999,
            '\ud800/\ud800.jpg',
            'nul\0.jpg',
            [],
            [[]],
            {},
            {'size': None, 'counts': 'z'},
            {'size': [4, 4], 'counts': 'z~'},
            {'size': [4, 4], 'counts': [10**19, -(10**19)]},
        ]
    ),
    st.text(),
    st.recursive(
        st.none() | st.integers(-(10**19), 10**19) | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=6)
            | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        ),
        max_leaves=9,
    ),
)


@settings(
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_whatever_a_file_holds_is_refused_by_name_or_cleaned(tmp_path, data):
    content, changes = masks(TRIANGLE, data.draw(st.booleans()))
    changes['pipeline'] = [*LOAD, *changes['pipeline']]
    if not (tmp_path / 'img').exists():
        write_images(tmp_path)
    for _ in range(data.draw(st.integers(1, 3))):
        key = data.draw(st.sampled_from(list(GOOD)))
        number = data.draw(st.integers(0, len(GOOD[key]) - 1))
        entry = content[key][number]
        field = data.draw(st.sampled_from([*entry, 'iscrowd', 'ignore']))
        entry[field] = data.draw(HOSTILE)
    with contextlib.suppress(ConfigError):
        check(tmp_path, content, **changes)
    dataset = ConfigDict(type='CocoDataset', data_root=str(tmp_path))
    dataset.update(changes)
    with contextlib.suppress(ConfigError):
        path = str(tmp_path / 'ann.json')
        read = annotation_reading.read_annotations(path, 'here')
        cleaning = clean_annotations(read, dataset, 'here')
        again = clean_annotations(cleaning.content, dataset, 'here')
        assert again.changes == {}
