"""Unusable label maps are named before a training starts."""

from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from mmtst.datasets import check_label_maps, set_data_root
from mmtst.datasets.label_maps import inspect_label_maps
from mmtst.testing.cityscapes import write_tiny_cityscapes
from mmtst.utils.errors import ConfigError

CONFIG = (
    Path(__file__).parents[2] / 'configs/tst/mmseg/'
    'tst_logits_pspnet-r101_pspnet-r18_8xb2-80k_cityscapes-512x1024.py'
)
TRAIN = 'train_dataloader.dataset'


@pytest.fixture
def cfg(tmp_path):
    write_tiny_cityscapes(tmp_path, dict(train=3, val=2))
    cfg = Config.fromfile(CONFIG)
    set_data_root(cfg, str(tmp_path))
    return cfg


def test_counts_what_is_whole(cfg, tmp_path):
    counts = check_label_maps(cfg)
    assert counts[TRAIN] == len(list(tmp_path.glob('leftImg8bit/train/*/*')))
    assert set(counts) == {
        f'{subset}_dataloader.dataset' for subset in ('train', 'val', 'test')
    }


def test_names_a_missing_map_and_how_to_make_it(cfg, tmp_path):
    first, *_ = sorted(tmp_path.glob('gtFine/train/*/*labelTrainIds.png'))
    first.unlink()
    with pytest.raises(ConfigError, match='1 of') as caught:
        check_label_maps(cfg)
    message = str(caught.value)
    assert first.name in message
    assert f'{TRAIN}.data_prefix.seg_map_path' in message
    assert 'cityscapes.py' in message
    assert check_label_maps(cfg, ('val',))


def test_names_a_folder_without_images(cfg):
    cfg.train_dataloader.dataset.img_suffix = '.tif'
    with pytest.raises(ConfigError, match='no images'):
        check_label_maps(cfg)


def test_passes_over_other_data(tmp_path):
    loader = dict(
        dataset=dict(type='mmdet.CocoDataset', data_prefix=dict(img='x'))
    )
    assert check_label_maps(Config(dict(train_dataloader=loader))) == {}


def spoil(tmp_path, array, most=None):
    for path in sorted(tmp_path.glob('gtFine/train/*/*labelTrainIds.png'))[
        :most
    ]:
        Image.fromarray(array).save(path)


def test_raw_ids_in_place_of_train_ids_are_refused(cfg, tmp_path):
    """Cityscapes' raw maps name 34 labels, its data set 19."""
    cfg.train_dataloader.dataset.seg_map_suffix = '_gtFine_labelIds.png'
    with pytest.raises(ConfigError, match='beyond the classes') as caught:
        check_label_maps(cfg)
    message = str(caught.value)
    assert f'{TRAIN}.data_prefix.seg_map_path' in message
    assert '3 of 3' in message
    assert 'labels from 0 to 18, and 255 for what is ignored' in message


def test_the_label_that_a_head_ignores_is_allowed(cfg, tmp_path):
    array = np.full((64, 128), 254, np.uint8)
    array[0] = 1
    spoil(tmp_path, array)
    with pytest.raises(ConfigError, match='beyond'):
        check_label_maps(cfg)
    cfg.model.architecture.cfg_options = {'decode_head.ignore_index': 254}
    assert check_label_maps(cfg)


def test_a_map_that_teaches_nothing_is_said(cfg, tmp_path, caplog):
    spoil(tmp_path, np.full((64, 128), 255, np.uint8), most=1)
    assert check_label_maps(cfg, ('train',))[TRAIN] == 3
    notes = [each.what for each in inspect_label_maps(cfg).findings]
    assert any('1 of 3 label maps have ignored pixels' in n for n in notes)
    assert any('classes have no pixel' in note for note in notes)
    spoil(tmp_path, np.full((64, 128), 255, np.uint8))
    with pytest.raises(ConfigError, match='3 of 3 label maps have ignored'):
        check_label_maps(cfg, ('train',))


def test_classes_that_the_data_set_does_not_know_are_named(cfg):
    cfg.train_dataloader.dataset.metainfo = dict(classes=('road', 'moose'))
    with pytest.raises(ConfigError, match='moose') as caught:
        check_label_maps(cfg)
    assert TRAIN in str(caught.value)
