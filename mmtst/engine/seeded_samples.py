"""Make every sample's randomness a function of its position.

The main process gives each index a seed, derived from where it stands in the
stream; whichever process loads the sample draws from that seed alone. So it
makes no difference how many workers there are, what they have loaded before,
or whether the training was resumed. A data set that loads whole batches draws
for all of one from the seed of its first sample.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, overload

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from mmtst.engine.randomness import derive_seed, preserved_rng
from mmtst.utils.errors import ConfigError


class SeededSample(NamedTuple):
    """Name a sample and the seed that its pipeline draws from."""

    number: int
    seed: int


@dataclass(frozen=True)
class SeededBatch(Sequence[SeededSample]):
    """Name the samples of a batch; seeds are derived where one looks.

    Deriving one takes about as long as cropping three small images.

    Attributes:
        numbers: Of the samples.
        position: Of the batch; each place in it has a seed of its own.
    """

    numbers: tuple[int, ...]
    position: tuple[int, ...]

    @overload
    def __getitem__(self, place: int) -> SeededSample: ...

    @overload
    def __getitem__(self, place: slice) -> list[SeededSample]: ...

    def __getitem__(
        self, place: int | slice
    ) -> SeededSample | list[SeededSample]:
        """Return the sample at a place of the batch."""
        if isinstance(place, slice):
            return [self[i] for i in range(len(self))[place]]
        place = range(len(self))[place]
        seed = derive_seed(*self.position, place)
        return SeededSample(self.numbers[place], seed)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.numbers)


class SeededDataset(Dataset[Any]):
    """Load samples from the seeds that come with their indices.

    Everything else, attributes included, is the data set's own. Samples
    asked for by a plain index are loaded as ever.

    Args:
        dataset: Map-style.
    """

    dataset: Any

    def __init__(self, dataset: Any) -> None:
        vars(self)['dataset'] = dataset

    def __getitem__(self, key: SeededSample | int) -> Any:
        """Load a sample; global random states are as before afterwards."""
        if not isinstance(key, SeededSample):
            return self.dataset[key]
        with _seeded(key.seed):
            return self.dataset[key.number]

    def __getitems__(self, keys: Sequence[Any]) -> Any:
        """Load a batch, in one call of a data set that can.

        torch's loader calls it with the keys of a batch: all are
        :class:`SeededSample`, or all plain indices.
        """
        load = getattr(self.dataset, '__getitems__', None)
        if load is None or not keys:
            return [self[key] for key in keys]
        first = keys[0]
        if not isinstance(first, SeededSample):
            return load(keys)
        if isinstance(keys, SeededBatch):
            numbers = list(keys.numbers)
        else:
            numbers = [key.number for key in keys]
        with _seeded(first.seed):
            return load(numbers)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.dataset)

    def __getattr__(self, name: str) -> Any:
        """Hand out the data set's attributes."""
        # Asked for while it is unpickled in a worker, before it has any.
        if name == 'dataset' or name.startswith('__'):
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set the data set's own: hooks switch pipelines, for instance."""
        setattr(self.dataset, name, value)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw from a seed within, and as ever afterwards."""
    # Pipelines draw on the CPU, and CUDA cannot be touched in a worker.
    with preserved_rng(cuda=False):
        random.seed(seed)
        np.random.seed(seed)
        torch.default_generator.manual_seed(seed)
        yield


class SeededBatches:
    """Yield a batch sampler's batches with a seed for each sample.

    Attributes:
        epoch: Of the batches that the next pass yields; part of their seeds.

    Args:
        batch_sampler: Yields lists of indices.
        seed: Of this stream on this rank.
        endless: Whether passes follow one another without an end, as
            iteration-based loops want it.
        start: How many batches to leave out at the start, without loading.
    """

    def __init__(
        self,
        batch_sampler: Any,
        seed: int,
        *,
        endless: bool = False,
        start: int = 0,
    ) -> None:
        self.batch_sampler = batch_sampler
        self.seed = seed
        self.endless = endless
        self.start = start
        self.epoch = 0

    @property
    def sampler(self) -> Any:
        """Return the sampler, whose epoch mmengine sets."""
        return self.batch_sampler.sampler

    @property
    def batch_size(self) -> int | None:
        """Return the images of a full batch, if the batch sampler tells."""
        return getattr(self.batch_sampler, 'batch_size', None)

    def __iter__(self) -> Iterator[SeededBatch]:
        """Yield batches of samples with seeds."""
        batches = self._passes() if self.endless else self.batch_sampler
        epoch = self.epoch
        for number, indices in enumerate(batches):
            if number < self.start:
                continue
            numbers = tuple(int(index) for index in indices)
            yield SeededBatch(numbers, (self.seed, epoch, number))

    def __len__(self) -> int:
        """Return the number of batches of one pass."""
        return len(self.batch_sampler)

    def _passes(self) -> Iterator[list[int]]:
        for number in itertools.count():
            if hasattr(self.sampler, 'set_epoch'):
                self.sampler.set_epoch(number)
            batches = iter(self.batch_sampler)
            first = next(batches, None)
            if first is None:
                raise ConfigError(
                    'the training data have not enough images for one batch',
                    where='train_dataloader.batch_size',
                    got=self.batch_size,
                    fix='lower batch_size, or check the annotation file',
                )
            yield first
            yield from batches


class SkippingIterator:
    """Stand in for the iterator of mmengine's iteration-based loop.

    Resumed, that loop fetches as many batches as it has trained on and throws
    them away. Here these fetches cost nothing; the loader has left the
    batches out already.

    Args:
        loader: Whose first batch is the first to train on.
        skipped: How many fetches to answer with nothing.
    """

    def __init__(self, loader: DataLoader[Any], skipped: int) -> None:
        self._loader = loader
        self._skipped = skipped
        self._batches: Iterator[Any] | None = None

    def __iter__(self) -> SkippingIterator:
        """Return itself."""
        return self

    def __next__(self) -> Any:
        """Return the next batch, ``None`` for one that is skipped."""
        if self._skipped > 0:
            self._skipped -= 1
            return None
        if self._batches is None:
            self._batches = iter(self._loader)
        return next(self._batches)


def with_batches(
    loader: DataLoader[Any], batches: Any, **options: Any
) -> DataLoader[Any]:
    """Build a loader like another, over seeded samples of its data set.

    Args:
        loader: Whose data set, workers, collation and memory options to
            take.
        batches: Yields sequences of :class:`SeededSample`.
        options: Of ``DataLoader``, in place of the loader's own.
    """
    dataset = loader.dataset
    if not isinstance(dataset, SeededDataset):
        dataset = SeededDataset(dataset)
    if loader.num_workers > 0:
        options = {
            'persistent_workers': loader.persistent_workers,
            'prefetch_factor': loader.prefetch_factor,
            'multiprocessing_context': loader.multiprocessing_context,
            'timeout': loader.timeout,
            **options,
        }
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        worker_init_fn=loader.worker_init_fn,
        # Or every pass would draw from the global one.
        generator=torch.Generator(),
        **options,
    )
