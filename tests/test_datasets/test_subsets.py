"""Test which classes and images are chosen."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

from mmtst.datasets.subsets import choose_classes, keep_fraction
from mmtst.utils.errors import ConfigError

NAMES = ('ant', 'bee', 'cat', 'dog')
WHERE = 'train_dataloader.dataset.classes'


@pytest.mark.parametrize(
    ('wanted', 'expected'),
    [
        (None, (0, 1, 2, 3)),
        (1, (0,)),
        (4, (0, 1, 2, 3)),
        ([2], (2,)),
        (['dog', 'ant'], (3, 0)),
        ((3, 'bee', 0), (3, 1, 0)),
    ],
)
def test_classes_keep_the_order_they_are_wanted_in(wanted, expected) -> None:
    assert choose_classes(NAMES, wanted, WHERE) == expected


@pytest.mark.parametrize(
    ('wanted', 'words'),
    [
        (0, 'from 1, up to 4'),
        (5, 'from 1, up to 4'),
        (True, 'from 1, up to 4'),
        (2.0, 'from 1, up to 4'),
        ('ant', 'out of range or of the wrong kind'),
        ([], 'no class is wanted'),
        (['fly'], 'no such class'),
        ([4], 'no such class'),
        ([-1], 'no such class'),
        ([True], 'no such class'),
        ([1.0], 'no such class'),
        ([None], 'no such class'),
        ([1, 1], 'twice'),
        (['bee', 1], 'twice'),
    ],
)
def test_other_wishes_are_refused(wanted: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        choose_classes(NAMES, wanted, WHERE)
    assert WHERE in str(caught.value)


def make(counts: list[int], seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    images = rng.integers(0, 256, (len(labels), 3, 4, 4), np.uint8)
    return images, labels


@pytest.mark.parametrize(
    ('fraction', 'expected'),
    [
        # round(fraction * count), halves upward, at least one.
        (0.25, [5, 1, 3, 1]),
        (0.5, [10, 1, 5, 1]),
        (0.75, [15, 2, 8, 1]),
        (0.01, [1, 1, 1, 1]),
        (0.3, [6, 1, 3, 1]),
    ],
)
def test_counts_of_every_class_are_exact(fraction, expected) -> None:
    images, labels = make([20, 2, 10, 1])
    kept = keep_fraction(images, labels, fraction, 0)
    assert np.bincount(labels[kept], minlength=4).tolist() == expected
    assert (np.diff(kept) > 0).all()


def test_the_same_images_whatever_their_order() -> None:
    images, labels = make([40, 40])
    kept = keep_fraction(images, labels, 0.5, 3)
    order = np.random.default_rng(1).permutation(80)
    again = keep_fraction(images[order], labels[order], 0.5, 3)
    assert set(order[again].tolist()) == set(kept.tolist())
    # And whatever other classes there are.
    one = keep_fraction(images[labels == 1], labels[labels == 1], 0.5, 3)
    assert set(np.flatnonzero(labels == 1)[one]) <= set(kept.tolist())


def test_a_larger_share_has_all_of_a_smaller_one() -> None:
    images, labels = make([40, 40])
    shares = [
        set(keep_fraction(images, labels, fraction, 0).tolist())
        for fraction in (0.25, 0.5, 0.75, 1.0)
    ]
    assert [len(share) for share in shares] == [20, 40, 60, 80]
    assert shares[0] < shares[1] < shares[2] < shares[3]


def test_the_seed_chooses() -> None:
    images, labels = make([40, 40])
    first, same, other = (
        keep_fraction(images, labels, 0.5, seed).tolist()
        for seed in (0, 0, 2**64 - 1)
    )
    assert first == same != other


def test_the_choice_stays_what_it_was() -> None:
    """Reported figures rest on it; images are constant 0, 1, 2, ..."""
    images = np.arange(12, dtype=np.uint8)[:, None].repeat(48, 1)
    labels = np.zeros(12, int)
    kept = keep_fraction(images.reshape(12, 3, 4, 4), labels, 0.25, 0)
    assert kept.tolist() == [1, 5, 11]
    digests = [
        hashlib.blake2b(bytes([i] * 48), digest_size=16, salt=bytes(16))
        for i in range(12)
    ]
    order = sorted(range(12), key=lambda i: digests[i].hexdigest())
    assert sorted(order[:3]) == [1, 5, 11]


def test_equal_images_are_no_trouble() -> None:
    images = np.zeros((8, 3, 4, 4), np.uint8)
    labels = np.arange(8) % 2
    assert keep_fraction(images, labels, 0.5, 0).tolist() == [0, 1, 2, 3]
