"""Check which data sets' images are looked into."""

import pytest
from mmengine.config import Config
from PIL import Image

from mmtst.datasets.image_sets import inspect_image_sets

LOAD = [dict(type='LoadImageFromFile')]


@pytest.fixture
def look(tmp_path):
    for name in ('img/a.png', 'img/b.png', 'maps/a.png', 'maps/b.png'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new('RGB', (4, 4)).save(tmp_path / name)

    def run(scope='mmseg', every=False, **changes):
        dataset = dict(
            type='BaseSegDataset',
            data_root=str(tmp_path),
            data_prefix=dict(img_path='img', seg_map_path='maps'),
            img_suffix='.png',
            pipeline=LOAD,
        )
        dataset = {
            k: v for k, v in (dataset | changes).items() if v is not None
        }
        cfg = dict(default_scope=scope, train_dataloader=dict(dataset=dataset))
        found = inspect_image_sets(Config(cfg), ('train',), every=every)
        return [finding.what for finding in found]

    return run


FOLDERS = dict(
    scope='mmpretrain',
    type='CustomDataset',
    img_suffix=None,
    data_prefix=None,
)


@pytest.mark.parametrize('changes', [{}, FOLDERS])
def test_images_that_are_cut_short_are_found(look, tmp_path, changes):
    assert look(**changes) == []
    path = tmp_path / 'img' / 'b.png'
    path.write_bytes(path.read_bytes()[:-20])
    (what,) = look(**changes)
    assert 'cut short' in what


@pytest.mark.parametrize(
    'changes',
    [
        dict(scope='mmdet', type='CocoDataset'),
        dict(pipeline=[dict(type='LoadImageFromNDArray')]),
        dict(backend_args=dict(backend='petrel')),
        dict(data_root='s3://bucket'),
    ],
)
def test_others_are_passed_over(look, tmp_path, changes):
    (tmp_path / 'img' / 'b.png').write_bytes(b'none')
    assert look(**changes) == []


def test_a_data_set_that_cannot_list_its_images_is_named(look):
    missing = FOLDERS | dict(data_prefix='none')
    (what,) = look(**missing)
    assert 'cannot list its images' in what
