"""Check what is said of annotation files that cannot be used."""

import copy
import json

import pytest
from mmengine.config import Config

from mmtst.datasets import check_annotations
from mmtst.utils.errors import ConfigError

GOOD = dict(
    images=[
        dict(id=1, file_name='a.jpg', height=4, width=4),
        dict(id=2, file_name='b.jpg', height=4, width=4),
    ],
    annotations=[dict(id=7, image_id=1, category_id=3, bbox=[0, 0, 2, 2])],
    categories=[dict(id=3, name='cell'), dict(id=4, name='dust')],
)


def check(root, content, classes=('cell',)):
    text = content if isinstance(content, str) else json.dumps(content)
    (root / 'ann.json').write_text(text)
    (root / 'img').mkdir(exist_ok=True)
    (root / 'img' / 'a.jpg').touch()
    (root / 'img' / 'b.jpg').touch()
    dataset = dict(
        type='CocoDataset',
        data_root=str(root),
        ann_file='ann.json',
        metainfo=dict(classes=classes),
        data_prefix=dict(img='img/'),
    )
    cfg = Config(dict(train_dataloader=dict(dataset=dataset)))
    return check_annotations(cfg, ('train',))


def test_images_with_objects_are_counted(tmp_path):
    assert check(tmp_path, GOOD) == {'train_dataloader.dataset': 1}


def changed(**changes):
    return copy.deepcopy(GOOD) | changes


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('', 'is not JSON'),
        ('[]', 'not in COCO layout'),
        (dict(images=[]), 'not in COCO layout'),
        (changed(images=[]), 'has no images'),
        (changed(annotations=[]), 'has no object of the classes'),
        (
            changed(annotations=[dict(id=8, image_id=9, category_id=3)]),
            'belongs to no image',
        ),
    ],
)
def test_malformed_files(tmp_path, content, message):
    with pytest.raises(ConfigError, match=message) as error:
        check(tmp_path, content)
    assert 'train_dataloader.dataset.ann_file' in str(error.value)


def test_unknown_classes_are_shown_beside_the_files(tmp_path):
    with pytest.raises(ConfigError, match='allowed: cell, dust'):
        check(tmp_path, GOOD, classes=('car',))


def test_missing_images_are_found_at_once(tmp_path):
    content = copy.deepcopy(GOOD)
    content['images'][1]['file_name'] = 'c.jpg'
    with pytest.raises(ConfigError, match='1 of 2 images are not there'):
        check(tmp_path, content)


def test_other_data_sets_are_passed_over():
    dataset = dict(type='CityscapesDataset', data_root='nowhere')
    cfg = Config(dict(val_dataloader=dict(dataset=dataset)))
    assert check_annotations(cfg) == {}
