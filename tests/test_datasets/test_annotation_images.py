"""Check how the images of an annotation file are looked at."""

import pytest
from mmengine.config import ConfigDict
from PIL import Image

from mmtst.datasets.annotation_images import look_at_images

LOAD = dict(type='LoadImageFromFile')


@pytest.fixture
def dataset(tmp_path):
    for name in ('a.png', 'deep/b.png', 'deep/c.png'):
        path = tmp_path / 'img' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (4, 3)).save(path)
    prefix = dict(img='img')
    return ConfigDict(
        data_root=str(tmp_path), data_prefix=prefix, pipeline=[LOAD]
    )


def look(dataset, *names, every=False):
    images = [dict(file_name=name, width=4, height=3) for name in names]
    return look_at_images(dataset, 'here', images, every)


def test_good_images_pass(dataset):
    assert look(dataset, 'a.png', 'deep/b.png', 'deep//c.png') == []
    assert look(dataset) == []


def test_each_fault_is_named_once(dataset, tmp_path):
    (tmp_path / 'img' / 'deep' / 'b.png').write_bytes(b'')
    (tmp_path / 'img' / 'deep' / 'c.png').write_bytes(b'<html>')
    found = look(dataset, 'a.png', 'deep/b.png', 'deep//c.png', 'deep//d.png')
    assert [(f.what, f.refused) for f in found] == [
        ('1 of 4 images are not there', True),
        ('1 of 4 images are empty files', True),
        ('1 of 2 images are web pages, not images', True),
    ]
    assert found[0].places == (f'{tmp_path}/img/deep//d.png',)


def test_other_loaders_are_not_second_guessed(dataset, tmp_path):
    (tmp_path / 'img' / 'a.png').write_bytes(b'of a format of its own')
    dataset.pipeline = [dict(type='LoadMyImage')]
    assert look(dataset, 'a.png') == []
    (finding,) = look(dataset, 'none.png')
    assert 'not there' in finding.what
