"""Test that whole batches pass, and single samples become one."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from mmengine.dataset import default_collate, pseudo_collate
from mmengine.registry import FUNCTIONS

from mmtst.datasets.collate import WholeBatch, keep_batch
from mmtst.utils.errors import ConfigError


def test_it_is_found_as_loaders_look_it_up() -> None:
    assert FUNCTIONS.get('mmtst.keep_batch') is keep_batch


def test_a_whole_batch_passes() -> None:
    images, samples = torch.zeros(2, 3, 4, 4), ['one for all']
    batch = WholeBatch(inputs=images, data_samples=samples)
    got = partial(keep_batch)(batch)
    assert type(got) is dict and got.keys() == {'inputs', 'data_samples'}
    assert got['inputs'] is images
    assert got['data_samples'] is samples


def test_samples_become_a_batch() -> None:
    items = [
        dict(inputs=torch.full((3, 4, 4), i), data_samples=str(i))
        for i in range(3)
    ]
    got = keep_batch(items)
    assert got['inputs'].shape == (3, 3, 4, 4)
    assert got['inputs'][:, 0, 0, 0].tolist() == [0, 1, 2]
    assert got['data_samples'] == ['0', '1', '2']


def test_images_of_several_sizes_stay_apart() -> None:
    items = [dict(inputs=torch.zeros(3, side, side)) for side in (4, 5)]
    assert [i.shape[-1] for i in keep_batch(items)['inputs']] == [4, 5]
    assert keep_batch([dict(other=1), dict(other=2)]) == {'other': [1, 2]}
    assert keep_batch([dict(inputs=1), dict(inputs=2)]) == {'inputs': [1, 2]}
    assert keep_batch([(1, 2), (3, 4)]) == [(1, 3), (2, 4)]


@pytest.mark.parametrize('collate', [pseudo_collate, default_collate])
def test_a_collation_of_samples_is_told_what_to_be(collate) -> None:
    batch = WholeBatch(inputs=torch.zeros(2, 3, 4, 4), data_samples=[0])
    with pytest.raises(ConfigError, match='whole batches') as caught:
        collate(batch)
    text = str(caught.value)
    assert 'train_dataloader.collate_fn' in text
    assert "collate_fn=dict(type='mmtst.keep_batch')" in text


def test_other_keys_are_missing_as_ever() -> None:
    batch = WholeBatch(inputs=1)
    with pytest.raises(KeyError, match='no'):
        batch['no']
    assert batch.get('no') is None
