"""Give a search batches of its own, beside the training stream.

A search may not take an iterator from the training loader: mmengine's
``InfiniteSampler`` has but one, and every other sampler would advance the
random stream that the training draws from.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_rank, get_world_size
from mmengine.registry import DATA_SAMPLERS
from torch.utils.data import BatchSampler, DataLoader, IterableDataset

from mmtst.engine.randomness import derive_seed
from mmtst.engine.seeded_samples import SeededBatches, with_batches
from mmtst.utils.errors import ConfigError


class FirstBatches:
    """Yield a fixed number of an endless batch sampler's batches.

    Workers then end by themselves and prefetch nothing that is not used.

    Args:
        batch_sampler: Yields lists of indices.
        num_batches: How many to yield.
    """

    def __init__(self, batch_sampler: Any, num_batches: int) -> None:
        self.batch_sampler = batch_sampler
        self.num_batches = num_batches

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the first ``num_batches`` batches of indices."""
        batches = iter(self.batch_sampler)
        for _ in range(self.num_batches):
            yield list(next(batches))

    def __len__(self) -> int:
        """Return the number of batches."""
        return self.num_batches


def train_batch_size(train_loader: DataLoader[Any]) -> int:
    """Return the images per process and step of a training loader.

    Raises:
        ConfigError: If its batch sampler does not tell.
    """
    size = train_loader.batch_size
    if size is None:
        size = getattr(train_loader.batch_sampler, 'batch_size', None)
    if size is None:
        raise ConfigError(
            'The batch size of the training loader cannot be told',
            where='PolicySearchHook.batch_size',
            fix='set batch_size on the hook',
        )
    return int(size)


def batches_per_epoch(train_loader: DataLoader[Any], batch_size: int) -> int:
    """Return how many steps pass over the data set once, all ranks together.

    Raises:
        ConfigError: If the data set has no length or is empty.
    """
    dataset = train_loader.dataset
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, '__len__'):
        raise ConfigError(
            'A policy search needs a data set that can be indexed',
            where='train_dataloader.dataset',
            got=type(dataset).__name__,
            allowed='map-style data sets, with __len__ and __getitem__',
        )
    if len(dataset) == 0:
        raise ConfigError(
            'The training data set is empty',
            where='train_dataloader.dataset',
            fix='check its annotation file and its filter_cfg',
        )
    return -(-len(dataset) // (int(get_world_size()) * batch_size))


def build_search_loader(
    train_loader: DataLoader[Any],
    *,
    num_batches: int,
    batch_size: int,
    seed: int,
    batch_sampler_cfg: dict[str, Any] | None = None,
) -> DataLoader[Any]:
    """Build a finite loader over the training loader's own data set.

    Shuffles anew on every pass over the data; short last batches do not
    occur, as passes follow one another without a seam. Ranks see disjoint
    shares of one permutation. Collation, workers and memory options are
    those of the training loader; workers do not persist.

    Args:
        train_loader: The loader to take after.
        num_batches: Batches to yield on each rank.
        batch_size: Images per batch and rank.
        seed: Decides order and augmentation; the same on all ranks.
        batch_sampler_cfg: Config of a custom batch sampler, such as mmdet's
            ``AspectRatioBatchSampler``, to group indices in the same way.

    Returns:
        The loader, to be iterated once.
    """
    sampler = InfiniteSampler(train_loader.dataset, shuffle=True, seed=seed)
    if batch_sampler_cfg is None:
        batches = BatchSampler(sampler, batch_size, drop_last=True)
    else:
        batches = DATA_SAMPLERS.build(
            batch_sampler_cfg,
            default_args={'sampler': sampler, 'batch_size': batch_size},
        )
    seeded = SeededBatches(
        FirstBatches(batches, num_batches),
        derive_seed(seed, 'sample', get_rank()),
    )
    options: dict[str, Any] = {}
    if train_loader.num_workers > 0:
        options['persistent_workers'] = False
    return with_batches(train_loader, seeded, **options)


@contextmanager
def opened(loader: DataLoader[Any]) -> Iterator[Iterator[Any]]:
    """Open an iterator over a loader, and stop its workers on exit.

    Left to the garbage collector, workers would outlive an exception for as
    long as its traceback is kept.

    Args:
        loader: What to iterate over.
    """
    batches = iter(loader)
    try:
        yield batches
    finally:
        stop = getattr(batches, '_shutdown_workers', None)
        if stop is not None:
            stop()
