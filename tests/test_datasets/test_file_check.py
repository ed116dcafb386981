"""Check that one call looks at annotations and images of all kinds."""

import json

import pytest
from mmengine.config import Config
from PIL import Image

from mmtst.datasets import check_files
from mmtst.utils.errors import ConfigError

LOAD = [dict(type='LoadImageFromFile')]


@pytest.fixture
def cfg(tmp_path):
    content = dict(
        images=[dict(id=1, file_name='a.png', width=4, height=4)],
        categories=[dict(id=1, name='cell')],
        annotations=[
            dict(id=i, image_id=1, category_id=1, bbox=box, area=4)
            for i, box in enumerate([[0, 0, 2, 2], [0, 0, 2, 2], [0] * 4])
        ],
    )
    (tmp_path / 'a.json').write_text(json.dumps(content))
    for name in ('a.png', 'class_1/b.png', 'class_2/c.png'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new('RGB', (4, 4)).save(tmp_path / name)
    objects = dict(
        type='mmdet.CocoDataset',
        data_root=str(tmp_path),
        ann_file='a.json',
        metainfo=dict(classes=('cell',)),
        pipeline=LOAD,
    )
    folders = dict(
        type='mmpretrain.CustomDataset',
        data_root=str(tmp_path),
        pipeline=LOAD,
    )
    return Config(
        dict(
            train_dataloader=dict(dataset=objects),
            val_dataloader=dict(dataset=folders),
        )
    )


def test_what_is_dropped_comes_back_as_notes(cfg):
    (note,) = check_files(cfg)
    assert '1 of 3 objects have a box of under one pixel' in note


def test_images_of_all_kinds_of_data_sets_are_looked_at(cfg, tmp_path):
    (tmp_path / 'class_2' / 'c.png').write_bytes(b'<html>')
    with pytest.raises(ConfigError, match='1 of 2 images are web') as error:
        check_files(cfg)
    assert 'val_dataloader.dataset' in str(error.value)
    assert len(check_files(cfg, ('train',))) == 1
    (tmp_path / 'a.png').write_bytes(b'')
    with pytest.raises(ConfigError, match='1 of 1 images are empty'):
        check_files(cfg)


def test_label_maps_are_looked_at(cfg, tmp_path):
    for folder in ('img', 'map'):
        (tmp_path / folder).mkdir()
    for name in 'ab':
        Image.new('RGB', (4, 4)).save(tmp_path / 'img' / f'{name}.jpg')
        Image.new('L', (4, 4), 1).save(tmp_path / 'map' / f'{name}.png')
    cfg.val_dataloader.dataset = dict(
        type='mmseg.BaseSegDataset',
        data_root=str(tmp_path),
        data_prefix=dict(img_path='img', seg_map_path='map'),
        metainfo=dict(classes=('x', 'y')),
        pipeline=[*LOAD, dict(type='mmseg.LoadAnnotations')],
    )
    cfg = Config(cfg.to_dict())
    (note,) = check_files(cfg, ('val',))
    assert '1 of 2 classes have no pixel in the label maps looked at' in note
    Image.new('L', (4, 4), 2).save(tmp_path / 'map' / 'b.png')
    with pytest.raises(ConfigError, match='1 of 2 label maps') as error:
        check_files(cfg)
    assert 'val_dataloader.dataset.data_prefix' in str(error.value)
