"""Test that a sample depends on its index and seed alone."""

from __future__ import annotations

import pickle
import random
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.dataset import (
    BaseDataset,
    DefaultSampler,
    InfiniteSampler,
    pseudo_collate,
)
from torch.utils.data import BatchSampler, DataLoader

from mmtst.engine.randomness import derive_seed
from mmtst.engine.seeded_samples import (
    SeededBatch,
    SeededBatches,
    SeededDataset,
    SeededSample,
    SkippingIterator,
    with_batches,
)
from mmtst.utils.errors import ConfigError


class Drawing(BaseDataset):
    """Gives what each of the three generators draws."""

    def __init__(self, size: int = 5) -> None:
        self.size = size
        super().__init__(serialize_data=False, metainfo=dict(classes=('a',)))

    def load_data_list(self) -> list[dict[str, Any]]:
        return [{'number': i} for i in range(self.size)]

    def prepare_data(self, idx: int) -> tuple[float, ...]:
        drawn = (random.random(), np.random.rand(), torch.rand(1).item())
        return (float(idx), *drawn)


def states() -> tuple[Any, ...]:
    return (
        random.getstate(),
        tuple(np.random.get_state()[1]),
        tuple(torch.get_rng_state().tolist()),
    )


def test_a_sample_follows_its_seed_and_leaves_no_trace() -> None:
    dataset = SeededDataset(Drawing())
    before = states()
    first = dataset[SeededSample(2, 11)]
    assert states() == before
    random.random(), np.random.rand(), torch.rand(3)
    assert dataset[SeededSample(2, 11)] == first
    other = dataset[SeededSample(2, 12)]
    assert other[0] == first[0] == 2
    assert all(a != b for a, b in zip(other[1:], first[1:], strict=True))


def test_a_plain_index_is_loaded_as_ever() -> None:
    dataset = SeededDataset(Drawing())
    before = states()
    assert dataset[1][0] == 1
    assert states() != before


def test_it_looks_like_the_data_set_in_a_worker_too() -> None:
    dataset = pickle.loads(pickle.dumps(SeededDataset(Drawing())))
    assert len(dataset) == 5
    assert dataset.metainfo['classes'] == ('a',)
    assert not hasattr(dataset, '__no_such_thing__')
    with pytest.raises(AttributeError, match='no_such_thing'):
        dataset.no_such_thing  # noqa: B018


class Batching(Drawing):
    """Loads batches at once, and says how often."""

    calls = 0

    def __getitems__(self, indices: list[int]) -> list[Any]:
        Batching.calls += 1
        drawn = (random.random(), np.random.rand())
        return [
            (float(index), *drawn, number)
            for index, number in zip(
                indices, torch.rand(len(indices)).tolist(), strict=True
            )
        ]


def test_a_batch_follows_its_first_seed_and_leaves_no_trace() -> None:
    dataset = SeededDataset(Batching())
    Batching.calls = 0
    before = states()
    first = dataset.__getitems__([SeededSample(2, 11), SeededSample(4, 5)])
    assert states() == before
    assert Batching.calls == 1
    assert [item[0] for item in first] == [2, 4]
    torch.manual_seed(11)
    assert [item[3] for item in first] == torch.rand(2).tolist()
    # Of the others, only the numbers count.
    again = dataset.__getitems__([SeededSample(2, 11), SeededSample(4, 6)])
    assert again == first
    other = dataset.__getitems__([SeededSample(2, 12), SeededSample(4, 5)])
    assert all(a != b for a, b in zip(first[0][1:], other[0][1:], strict=True))


def test_a_batch_of_plain_indices_is_loaded_as_ever() -> None:
    dataset = SeededDataset(Batching())
    before = states()
    assert [item[0] for item in dataset.__getitems__([3, 1])] == [3, 1]
    assert states() != before
    assert dataset.__getitems__([]) == []


def test_other_data_sets_load_a_batch_sample_by_sample() -> None:
    dataset = SeededDataset(Drawing())
    keys = [SeededSample(2, 11), SeededSample(4, 5)]
    before = states()
    assert dataset.__getitems__(keys) == [dataset[key] for key in keys]
    assert states() == before
    torch.manual_seed(1)
    expected = [dataset.dataset[index][3] for index in (0, 3)]
    torch.manual_seed(1)
    assert [item[3] for item in dataset.__getitems__([0, 3])] == expected


def test_hooks_reach_the_data_set_itself() -> None:
    """mmdet's PipelineSwitchHook sets ``pipeline``, for instance."""
    dataset = SeededDataset(Drawing())
    dataset.prepare_data = lambda idx: ('switched', idx)
    assert dataset[SeededSample(3, 0)] == ('switched', 3)
    assert dataset.dataset[3] == ('switched', 3)


def sampled(batches: SeededBatches, count: int) -> list[SeededBatch]:
    found = []
    for batch in batches:
        found.append(batch)
        if len(found) == count:
            break
    return found


def test_a_batch_derives_its_seeds_where_one_looks() -> None:
    batch = SeededBatch((4, 2, 7), (9, 0, 5))
    expected = [
        SeededSample(number, derive_seed(9, 0, 5, place))
        for place, number in enumerate((4, 2, 7))
    ]
    assert list(batch) == expected
    assert [batch[i] for i in (-3, -2, -1)] == expected
    assert batch[1:] == expected[1:]
    assert len(batch) == 3
    assert pickle.loads(pickle.dumps(batch)) == batch
    assert batch != SeededBatch((4, 2, 7), (9, 0, 6))
    for place in (3, -4):
        with pytest.raises(IndexError):
            batch[place]


def test_a_batch_at_once_is_that_of_its_list() -> None:
    dataset = SeededDataset(Batching())
    batch = SeededBatch((4, 2), (9, 0, 5))
    assert dataset.__getitems__(batch) == dataset.__getitems__(list(batch))
    dataset = SeededDataset(Drawing())
    assert dataset.__getitems__(batch) == [dataset[key] for key in batch]


def finite(**options: Any) -> SeededBatches:
    sampler = DefaultSampler(Drawing(), shuffle=True, seed=3)
    return SeededBatches(BatchSampler(sampler, 2, False), 9, **options)


def endless(**options: Any) -> SeededBatches:
    sampler = InfiniteSampler(Drawing(), shuffle=True, seed=3)
    return SeededBatches(
        BatchSampler(sampler, 2, False), 9, endless=True, **options
    )


def test_every_place_of_every_epoch_has_a_seed_of_its_own() -> None:
    batches = finite()
    seeds = set()
    for epoch in range(4):
        batches.epoch = epoch
        found = list(batches)
        assert [len(batch) for batch in found] == [2, 2, 1]
        assert sorted(s.number for b in found for s in b) == [0, 1, 2, 3, 4]
        seeds |= {sample.seed for batch in found for sample in batch}
    assert len(seeds) == 20
    assert len(batches) == 3


def finite_endless(**options: Any) -> SeededBatches:
    return finite(endless=True, **options)


@pytest.mark.parametrize('make', [endless, finite_endless])
@pytest.mark.parametrize('start', [1, 3, 7])
def test_an_endless_stream_starts_where_it_is_told(make, start) -> None:
    whole = sampled(make(), 12)
    assert sampled(make(start=start), 12 - start) == whole[start:]
    assert len({s.seed for batch in whole for s in batch}) == sum(
        len(batch) for batch in whole
    )


def test_passes_of_a_finite_sampler_are_shuffled_anew() -> None:
    flat = [s.number for b in sampled(finite_endless(), 6) for s in b]
    assert sorted(flat[:5]) == sorted(flat[5:]) == [0, 1, 2, 3, 4]
    assert flat[:5] != flat[5:]


def test_a_sampler_without_a_batch_is_refused() -> None:
    sampler = DefaultSampler(Drawing(1), seed=0)
    batches = SeededBatches(BatchSampler(sampler, 2, True), 0, endless=True)
    with pytest.raises(ConfigError, match='not enough images') as caught:
        next(iter(batches))
    assert 'train_dataloader.batch_size' in str(caught.value)


def test_skipping_loads_nothing() -> None:
    class Counting(Drawing):
        loaded = 0

        def prepare_data(self, idx: int) -> Any:
            Counting.loaded += 1
            return super().prepare_data(idx)

    train = DataLoader(Counting(), batch_size=2, collate_fn=pseudo_collate)
    loader = with_batches(train, endless(start=40))
    iterator = iter(SkippingIterator(loader, 40))
    assert [next(iterator) for _ in range(40)] == [None] * 40
    assert Counting.loaded == 0
    first = next(iterator)
    assert Counting.loaded == 2
    plain = iter(with_batches(train, endless()))
    assert [next(plain) for _ in range(41)][-1] == first


@pytest.mark.parametrize('kind', [Drawing, Batching])
@pytest.mark.parametrize('persistent', [False, True])
def test_workers_make_no_difference(persistent: bool, kind) -> None:
    def epochs(workers: int) -> list[Any]:
        options = dict(persistent_workers=persistent) if workers else {}
        train = DataLoader(
            kind(),
            num_workers=workers,
            collate_fn=pseudo_collate,
            **options,
        )
        batches = finite()
        loader = with_batches(train, batches)
        found = []
        for epoch in range(3):
            batches.epoch = epoch
            found += list(loader)
        return found

    assert epochs(0) == epochs(2)
