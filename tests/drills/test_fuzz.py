"""Give every reader what is almost a file: the short form of ``make fuzz``."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz import Reader, fuzz, readers, try_one

NAMES = (
    'checkpoints',
    'checkpoints, old format',
    'the newest checkpoint',
    'plain pickles',
    'policy logs',
    'policy logs, cut',
    'replayed policies',
    'priors',
    'result lines',
    'reports of searches',
    'annotations',
    'images',
    'label maps',
    "CIFAR's images",
    "CIFAR's names",
    'logs of runs',
    'matrices',
)


@pytest.fixture(scope='module')
def by_name(
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, tuple[Reader, Path]]:
    """Return readers and their folders."""
    pairs = readers(tmp_path_factory.mktemp('fuzz'))
    return {reader.name: (reader, place) for reader, place in pairs}


def test_all_readers_are_here(
    by_name: dict[str, tuple[Reader, Path]],
) -> None:
    assert set(by_name) == set(NAMES)


@pytest.mark.parametrize('name', NAMES)
def test_a_reader_takes_it_or_says_so(
    by_name: dict[str, tuple[Reader, Path]], name: str
) -> None:
    reader, place = by_name[name]
    try_one(reader, place, reader.good)
    reader.read(place)
    fuzz(reader, place, examples=40, number=None)


def test_what_a_reader_must_not_raise_is_found(tmp_path: Path) -> None:
    """A check of the check."""

    def read(folder: Path) -> None:
        if (folder / 'x').read_bytes()[:1] > b'a':
            raise KeyError('found')

    reader = Reader('x', 'x', read, b'aa')
    with pytest.raises(KeyError, match='found'):
        fuzz(reader, tmp_path, examples=200, number=None)
