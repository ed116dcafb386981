"""Test the batches of a search."""

from __future__ import annotations

import functools
import multiprocessing
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.dataset.utils import worker_init_fn
from mmengine.registry import DATA_SAMPLERS
from torch.utils.data import DataLoader, IterableDataset

from mmtst.engine import search_data
from mmtst.engine.randomness import preserved_rng, seed_all
from mmtst.engine.search_data import (
    FirstBatches,
    batches_per_epoch,
    build_search_loader,
    opened,
    train_batch_size,
)
from mmtst.utils.errors import ConfigError


def _train_loader(dataset: Any, **options: Any) -> DataLoader[Any]:
    return DataLoader(
        dataset, collate_fn=pseudo_collate, **{'batch_size': 3, **options}
    )


def _numbers(batches: Any) -> list[list[float]]:
    return [[float(each[0]) for each in batch['inputs']] for batch in batches]


def test_passes_follow_one_another_without_short_batches(make_set) -> None:
    loader = build_search_loader(
        _train_loader(make_set(size=7)), num_batches=7, batch_size=3, seed=1
    )
    batches = _numbers(loader)
    assert len(loader) == len(batches) == 7
    assert {len(batch) for batch in batches} == {3}
    flat = [number for batch in batches for number in batch]
    for start in (0, 7, 14):
        assert sorted(flat[start : start + 7]) == list(range(7))
    assert flat[:7] != flat[7:14]


def test_the_seed_decides_the_order(make_set) -> None:
    train = _train_loader(make_set())
    one, two, other = (
        _numbers(
            build_search_loader(train, num_batches=4, batch_size=3, seed=seed)
        )
        for seed in (1, 1, 2)
    )
    assert one == two != other


def test_ranks_see_disjoint_shares(make_set, monkeypatch) -> None:
    shares = []
    for rank in (0, 1):
        info = functools.partial(lambda rank: (rank, 2), rank)
        monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', info)
        loader = build_search_loader(
            _train_loader(make_set()), num_batches=2, batch_size=3, seed=1
        )
        shares.append(sum(_numbers(loader), []))
    assert sorted(shares[0] + shares[1]) == list(range(12))


def test_takes_after_the_training_loader(make_set) -> None:
    train = _train_loader(
        make_set(), num_workers=2, persistent_workers=True, prefetch_factor=3
    )
    loader = build_search_loader(train, num_batches=2, batch_size=2, seed=1)
    assert loader.dataset.dataset is train.dataset
    assert loader.collate_fn is train.collate_fn
    assert loader.num_workers == 2
    assert loader.prefetch_factor == 3
    assert not loader.persistent_workers


def test_workers_are_seeded_by_the_search_and_stopped(make_set) -> None:
    train = _train_loader(
        make_set(),
        num_workers=1,
        worker_init_fn=functools.partial(
            worker_init_fn, num_workers=1, rank=0, seed=7
        ),
    )
    before = set(multiprocessing.active_children())

    def jitters(seed: int) -> list[float]:
        loader = build_search_loader(
            train, num_batches=4, batch_size=3, seed=seed
        )
        with opened(loader) as batches:
            first = next(batches)
            assert set(multiprocessing.active_children()) != before
        return [float(each[1]) for each in first['inputs']]

    one, two, other = jitters(1), jitters(1), jitters(2)
    assert set(multiprocessing.active_children()) == before
    assert one == two
    # mmengine's own function alone would give each search the same.
    assert not set(one) & set(other)


def test_workers_make_no_difference(make_set) -> None:
    def batches(workers: int) -> list[Any]:
        train = _train_loader(make_set(), num_workers=workers)
        loader = build_search_loader(
            train, num_batches=5, batch_size=3, seed=4
        )
        return [
            [each.tolist() for each in batch['inputs']] for batch in loader
        ]

    assert batches(0) == batches(2)


def test_workers_stop_on_an_exception(make_set) -> None:
    loader = build_search_loader(
        _train_loader(make_set(), num_workers=1),
        num_batches=4,
        batch_size=3,
        seed=1,
    )
    before = set(multiprocessing.active_children())

    def fail() -> None:
        with opened(loader) as batches:
            next(batches)
            raise KeyError

    with pytest.raises(KeyError) as caught:
        fail()
    # The traceback still holds the frame, and so the iterator.
    assert caught.value.__traceback__ is not None
    assert set(multiprocessing.active_children()) == before


def test_a_custom_batch_sampler_groups_as_in_training(make_set) -> None:
    @DATA_SAMPLERS.register_module(force=True)
    class ParityBatches:
        """Group even and odd indices apart, as by aspect ratio."""

        def __init__(self, sampler: Any, batch_size: int) -> None:
            self.sampler, self.batch_size = sampler, batch_size

        def __iter__(self) -> Any:
            groups: list[list[int]] = [[], []]
            for index in self.sampler:
                groups[index % 2].append(index)
                if len(groups[index % 2]) == self.batch_size:
                    yield groups[index % 2]
                    groups[index % 2] = []

    loader = build_search_loader(
        _train_loader(make_set()),
        num_batches=20,
        batch_size=2,
        seed=1,
        batch_sampler_cfg={'type': 'ParityBatches'},
    )
    batches = _numbers(loader)
    assert len(batches) == 20
    assert all(one % 2 == two % 2 for one, two in batches)


def test_global_state_is_not_drawn_from_without_augmentation() -> None:
    dataset = [{'inputs': torch.zeros(1)} for _ in range(6)]
    with preserved_rng():
        seed_all(3)
        before = np.random.get_state()[1].copy(), torch.get_rng_state()
        loader = build_search_loader(
            _train_loader(dataset), num_batches=4, batch_size=2, seed=1
        )
        assert len(list(loader)) == 4
        assert np.array_equal(before[0], np.random.get_state()[1])
        assert torch.equal(before[1], torch.get_rng_state())


def test_first_batches() -> None:
    batches = FirstBatches(iter([[i] for i in range(100)]), 3)
    assert list(batches) == [[0], [1], [2]]
    assert len(batches) == 3


def test_batch_size_of_the_training(make_set) -> None:
    train = _train_loader(make_set())
    assert train_batch_size(train) == 3
    silent = DataLoader(make_set(), batch_sampler=[[0, 1], [2]])
    with pytest.raises(ConfigError, match='set batch_size on the hook'):
        train_batch_size(silent)


@pytest.mark.parametrize(
    ('size', 'world', 'batch', 'steps'),
    [(12, 1, 3, 4), (13, 1, 3, 5), (12, 2, 3, 2), (1, 8, 2, 1)],
)
def test_one_pass(
    make_set, monkeypatch, size: int, world: int, batch: int, steps: int
) -> None:
    monkeypatch.setattr(search_data, 'get_world_size', lambda: world)
    train = _train_loader(make_set(size=size))
    assert batches_per_epoch(train, batch) == steps


def test_data_sets_that_cannot_be_searched() -> None:
    class Stream(IterableDataset):
        def __iter__(self) -> Any:
            return iter([1])

    with pytest.raises(ConfigError, match='map-style'):
        batches_per_epoch(DataLoader(Stream()), 1)
    empty: Any = DataLoader.__new__(DataLoader)
    object.__setattr__(empty, 'dataset', [])
    with pytest.raises(ConfigError, match='empty'):
        batches_per_epoch(empty, 1)
