"""Check how annotation files are found and read."""

import json
import os

import pytest
from mmdet.datasets import CocoDataset
from mmengine.config import ConfigDict

from mmtst.datasets.annotation_reading import (
    annotation_path,
    is_coco,
    mask_options,
    read_annotations,
)
from mmtst.utils.errors import ConfigError

GOOD = dict(images=[dict(id=1)], annotations=[], categories=[], info=None)


@pytest.mark.parametrize(
    ('dataset', 'expected'),
    [
        (dict(type='CocoDataset'), True),
        (dict(type='mmdet.CocoDataset'), True),
        (dict(type=CocoDataset), True),
        (dict(type='CityscapesDataset'), False),
        (dict(type='CocoDataset', data_root='s3://bucket'), False),
        (dict(type='CocoDataset', ann_file='https://host/a.json'), False),
    ],
)
def test_which_data_sets_are_coco(dataset, expected):
    assert is_coco(ConfigDict(dataset)) == expected


def test_the_file_lies_below_the_root():
    dataset = ConfigDict(data_root='root', ann_file='ann/a.json')
    assert annotation_path(dataset) == os.path.join('root', 'ann/a.json')
    assert annotation_path(ConfigDict(ann_file='/a.json')) == '/a.json'


@pytest.mark.parametrize(
    ('step', 'expected'),
    [
        (dict(type='LoadAnnotations', with_bbox=True), None),
        (dict(type='LoadAnnotations', with_mask=True), True),
        (
            dict(
                type='mmdet.LoadAnnotations', with_mask=True, poly2mask=False
            ),
            False,
        ),
        ('no step', None),
    ],
)
def test_masks_are_looked_at_if_they_are_loaded(step, expected):
    assert mask_options(ConfigDict(pipeline=[step])) is expected


def test_a_good_file_comes_back(tmp_path):
    path = tmp_path / 'a.json'
    path.write_text(json.dumps(GOOD))
    assert read_annotations(str(path), 'here') == GOOD


@pytest.mark.parametrize(
    'data', [b'\xff\xfe{}', '{}'.encode('utf-16'), b'\0', b'{"images": nan}']
)
def test_what_pycocotools_does_not_read_is_refused(tmp_path, data):
    path = tmp_path / 'a.json'
    path.write_bytes(data)
    with pytest.raises(ConfigError, match='not JSON') as error:
        read_annotations(str(path), 'here')
    assert str(path) in str(error.value)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / 'a.json')
    with pytest.raises(ConfigError, match='is not a file'):
        read_annotations(str(tmp_path / 'a.json'), 'here')
