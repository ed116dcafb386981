"""Test the checks of data paths, on configs as users write them."""

from __future__ import annotations

import shutil

import pytest
from mmengine.config import Config

from mmtst.datasets.data_paths import (
    check_data,
    iter_datasets,
    set_data_root,
)
from mmtst.utils.errors import ConfigError


def config(root, **extra):
    leaf = {
        'type': 'CocoDataset',
        'data_root': root,
        'ann_file': 'annotations/train.json',
        'data_prefix': {'img': 'train/'},
    }
    return Config(
        {
            'train_dataloader': {
                'dataset': {
                    'type': 'RepeatDataset',
                    'times': 2,
                    'dataset': {
                        'type': 'ConcatDataset',
                        'datasets': [leaf, {**leaf, **extra}],
                    },
                }
            },
            'val_dataloader': {'dataset': leaf},
            'val_evaluator': [
                {
                    'type': 'CocoMetric',
                    'ann_file': f'{root}/annotations/train.json',
                    'metric': 'bbox',
                }
            ],
            'test_dataloader': None,
        }
    )


@pytest.fixture
def data(tmp_path):
    (tmp_path / 'set' / 'annotations').mkdir(parents=True)
    (tmp_path / 'set' / 'train').mkdir()
    (tmp_path / 'set' / 'annotations' / 'train.json').write_text('{}')
    return str(tmp_path / 'set')


def test_wrapped_datasets_are_found(data):
    found = [where for where, _ in iter_datasets(config(data))]
    assert found == [
        'train_dataloader.dataset.dataset.datasets[0]',
        'train_dataloader.dataset.dataset.datasets[1]',
        'val_dataloader.dataset',
    ]
    assert len(list(iter_datasets(config(data), ('val',)))) == 1


@pytest.mark.parametrize('end', ['', '/'])
def test_data_passes_until_it_is_gone(data, end):
    cfg = config(data + end)
    assert check_data(cfg) is None
    shutil.rmtree(f'{data}/annotations')
    with pytest.raises(ConfigError, match='is not there'):
        check_data(cfg)


def test_missing_root_is_named(data):
    with pytest.raises(ValueError, match='data root is not there') as error:
        check_data(config('/no/such/place'))
    message = str(error.value)
    assert "'/no/such/place'" in message
    assert 'train_dataloader.dataset.dataset.datasets[0].data_root' in message
    assert '--data-root DIR' in message


@pytest.mark.parametrize(
    ('extra', 'where'),
    [
        ({'ann_file': 'annotations/none.json'}, 'datasets[1].ann_file'),
        ({'data_prefix': {'img': 'test/'}}, 'datasets[1].data_prefix.img'),
        ({'data_prefix': 'test'}, 'datasets[1].data_prefix.img_path'),
    ],
)
def test_missing_part_is_named(data, extra, where):
    with pytest.raises(ValueError, match='is not there') as error:
        check_data(config(data, **extra))
    assert where in str(error.value)
    assert data in str(error.value)


def test_unread_subsets_and_remote_data_are_not_checked(data):
    cfg = config(data, data_root='/no/such/place')
    assert check_data(cfg, ('val', 'test')) is None
    with pytest.raises(ConfigError, match='is not there'):
        check_data(cfg, ('train',))
    assert check_data(config('s3://bucket/coco/')) is None
    remote = {'backend_args': {'backend': 'petrel'}}
    assert check_data(config(data, data_root='/no', **remote)) is None


def test_another_root_reaches_everything(data):
    cfg = config('data/old/')
    cfg.val_evaluator[0].ann_file = 'data/old/annotations/train.json'
    cfg.val_evaluator[0].outfile_prefix = 'data/older/out'
    assert set_data_root(cfg, data) == 3
    check_data(cfg)
    assert all(part.data_root == data for _, part in iter_datasets(cfg))
    evaluator = cfg.val_evaluator[0]
    assert evaluator.ann_file == f'{data}/annotations/train.json'
    assert evaluator.outfile_prefix == 'data/older/out'
    assert evaluator.metric == 'bbox'


def test_a_config_without_roots_says_so():
    cfg = Config({'train_dataloader': {'dataset': {'type': 'CIFAR100'}}})
    with pytest.raises(ValueError, match='no data set of this config'):
        set_data_root(cfg, '/data')
