"""Missing label maps are named before a training starts."""

from pathlib import Path

import pytest
from mmengine.config import Config

from mmtst.datasets import check_label_maps, set_data_root
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
