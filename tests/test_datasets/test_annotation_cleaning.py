"""Check what a cleaned annotation file has, and what is said of the rest."""

import copy
import json
import math
import os

import pytest
from mmengine.config import Config, ConfigDict
from PIL import Image

from mmtst.datasets.annotation_cleaning import clean_annotations, write_new
from mmtst.datasets.annotations import inspect_annotations
from mmtst.utils.errors import ConfigError

LOAD = [dict(type='LoadImageFromFile')]
MASKS = [*LOAD, dict(type='LoadAnnotations', with_mask=True)]


def image(number, **changes):
    entry = dict(id=number, file_name=f'{number}.png', width=8, height=6)
    return entry | changes


def annotation(number, **changes):
    entry = dict(id=number, image_id=1, category_id=1, bbox=[1, 1, 2, 2])
    entry |= dict(area=4, segmentation=[[1, 1, 3, 1, 3, 3]], iscrowd=0)
    return entry | changes


def without(entry, key):
    return {k: v for k, v in entry.items() if k != key}


CATEGORIES = [dict(id=1, name='cell'), dict(id=7, name='unused')]
SPOILED = dict(
    info=dict(year=2020),
    licenses=[],
    categories=CATEGORIES,
    images=[
        image(1),
        image(2),
        image(3),
        image(4, width=9),
        image(5),
        image(6, file_name=''),
        image(1, file_name='2.png'),
        'no image',
    ],
    annotations=[
        annotation(1),
        annotation(2, area=0),
        without(annotation(3), 'area'),
        annotation(4, area=math.nan),
        annotation(5, bbox=[-1, 2, 4, 9]),
        annotation(6, bbox=[0, 0, 0, 2]),
        annotation(7, bbox=[9, 0, 2, 2]),
        annotation(8, bbox=[7.5, 0, 2, 2]),
        annotation(9, bbox=[0, 0, math.inf, 2]),
        annotation(10, image_id=2),
        annotation(11, image_id=99),
        annotation(12, category_id=99),
        annotation(1),
        annotation(13, iscrowd=1),
        annotation(14, segmentation=[[1e12] * 6]),
        None,
    ],
)


@pytest.fixture
def dataset(tmp_path):
    for number in (1, 2, 4, 5):
        Image.new('RGB', (8, 6)).save(tmp_path / f'{number}.png')
    (tmp_path / '2.png').write_bytes(b'<html>')
    (tmp_path / '5.png').write_bytes(b'')
    return ConfigDict(
        type='CocoDataset',
        data_root=str(tmp_path),
        ann_file='a.json',
        metainfo=dict(classes=('cell',)),
        pipeline=MASKS,
    )


def test_what_can_be_used_is_kept_and_the_rest_counted(dataset):
    before = copy.deepcopy(SPOILED)
    cleaning = clean_annotations(SPOILED, dataset, 'here')
    # As texts, in which NaN is equal to itself.
    assert json.dumps(SPOILED) == json.dumps(before)
    content = cleaning.content
    assert content['info'] == dict(year=2020)
    assert content['categories'] == CATEGORIES
    assert content['images'] == [image(1)]
    kept = {a['id']: a for a in content['annotations']}
    assert list(kept) == [1, 2, 3, 4, 5, 15, 13]
    assert kept[1] == annotation(1)
    assert kept[5] == annotation(5, bbox=[0, 2, 3, 4])
    assert kept[15] == annotation(15)
    assert all(kept[number]['area'] == 4 for number in (2, 3, 4))
    assert cleaning.changes == {
        'images: missing': 1,
        'images: web page': 1,
        'images: size': 1,
        'images: empty': 1,
        'malformed images': 2,
        'images with the id of another one': 1,
        'areas set to that of the box': 3,
        'boxes clipped to their image': 1,
        'objects without a box of a pixel in their image': 3,
        'malformed annotations': 2,
        'annotations of images that are not kept': 2,
        'annotations of categories that are not there': 1,
        'annotations given an id of their own': 1,
        'objects without a usable mask': 1,
    }


def test_the_cleaned_copy_passes_the_check(dataset, tmp_path):
    cfg = Config(dict(train_dataloader=dict(dataset=dataset)))
    (tmp_path / 'a.json').write_text(json.dumps(SPOILED))
    found = inspect_annotations(cfg, ('train',), every=True).findings
    assert len([f for f in found if f.refused]) > 5
    cleaning = clean_annotations(SPOILED, dataset, 'here')
    write_new(cleaning.content, str(tmp_path / 'new' / 'a.json'))
    dataset.ann_file = 'new/a.json'
    report = inspect_annotations(cfg, ('train',), every=True)
    assert report.findings == []
    assert report.counts == {'train_dataloader.dataset': 1}
    again = clean_annotations(cleaning.content, dataset, 'here')
    assert again.changes == {}
    assert again.content == cleaning.content


def test_masks_are_left_alone_if_they_are_not_loaded(dataset):
    dataset.pipeline = LOAD
    cleaning = clean_annotations(SPOILED, dataset, 'here')
    assert 14 in {a['id'] for a in cleaning.content['annotations']}


def test_images_of_other_loaders_are_looked_for_alone(dataset):
    dataset.pipeline = [dict(type='LoadMyImage')]
    changes = clean_annotations(SPOILED, dataset, 'here').changes
    assert changes['images: missing'] == changes['images: empty'] == 1
    assert 'images: web page' not in changes


@pytest.mark.parametrize(
    'category', [dict(id=1, name='other'), dict(id=2), 'text']
)
def test_labels_are_not_guessed(dataset, category):
    content = SPOILED | dict(categories=[*CATEGORIES, category])
    with pytest.raises(ConfigError, match=r'categories\[2\]'):
        clean_annotations(content, dataset, 'here')


def test_nothing_is_ever_replaced(tmp_path):
    original = tmp_path / 'a.json'
    original.write_text('{}')
    (tmp_path / 'link.json').symlink_to(original)
    (tmp_path / 'dangling.json').symlink_to(tmp_path / 'none.json')
    for name in ('a.json', 'link.json', 'dangling.json', ''):
        with pytest.raises(ConfigError, match='cannot be written'):
            write_new(SPOILED, str(tmp_path / name))
    assert original.read_text() == '{}'
    assert not (tmp_path / 'none.json').exists()
    assert len(list(tmp_path.iterdir())) == 3


def test_a_copy_is_written_without_links_too(tmp_path, monkeypatch):
    def link(source, target):
        raise OSError(95, 'Operation not supported')

    monkeypatch.setattr(os, 'link', link)
    write_new(dict(a=1), str(tmp_path / 'a.json'))
    assert [p.name for p in tmp_path.iterdir()] == ['a.json']
    assert json.loads((tmp_path / 'a.json').read_text()) == dict(a=1)
