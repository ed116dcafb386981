"""Test the digits, made of what stands in for scikit-learn's."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mmtst.datasets import CIFAR100
from mmtst.datasets.cifar_files import read_classes, read_split
from mmtst.datasets.digits import DIGIT_CLASSES, write_digits
from mmtst.datasets.unfinished import begin_folder
from mmtst.utils.errors import ConfigError

# Of each digit, as scikit-learn has them: 1,797 in all.
COUNTS = (178, 182, 177, 183, 181, 182, 181, 179, 174, 180)


def load_digits() -> SimpleNamespace:
    """Draw for each digit one pixel at 16 in a place of its own."""
    rng = np.random.default_rng(0)
    target = rng.permutation(np.repeat(np.arange(10), COUNTS))
    images = np.zeros((len(target), 8, 8))
    images[np.arange(len(target)), 1 + target // 5, target % 5] = 16
    return SimpleNamespace(images=images, target=target)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: Any) -> Path:
    module = SimpleNamespace(load_digits=load_digits)
    monkeypatch.setitem(sys.modules, 'sklearn.datasets', module)
    assert write_digits(tmp_path / 'deep' / 'digits')
    return tmp_path / 'deep' / 'digits'


def digests(root: Path) -> list[str]:
    return [
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob('*'))
        if path.is_file()
    ]


def test_the_split_is_stratified(root: Path) -> None:
    assert read_classes(root, 'x') == DIGIT_CLASSES
    train, test = (
        np.bincount(read_split(root, split, 10, 'x').labels)
        for split in ('train', 'test')
    )
    assert test.tolist() == [50] * 10
    assert (train + test).tolist() == list(COUNTS)
    assert train.sum() == 1297


def test_no_image_is_in_both_splits(root: Path) -> None:
    """Each has colors of its own."""
    seen = [
        image.tobytes()
        for split in ('train', 'test')
        for image in read_split(root, split, 10, 'x').images
    ]
    assert len(set(seen)) == len(seen) == 1797


def test_the_enlarged_pixel_lies_where_it_was(root: Path) -> None:
    """A pixel becomes 4 x 4; linear between centers, a tent of 8 x 8.

    Along one axis the weights at the 8 nearest centers are 1/8, 3/8, 5/8,
    7/8 and back; so brightness lies between two colors of the image by their
    product.
    """
    tent = np.array([1, 3, 5, 7, 7, 5, 3, 1]) / 8
    images, labels = read_split(root, 'test', 10, 'x')
    # Digit 7: row 2, column 2, of which the tent begins 2 pixels before.
    expected = np.zeros((32, 32))
    expected[6:14, 6:14] = tent[:, None] * tent
    for image in images[labels == 7][:5].astype(float):
        for channel in image:
            # 64 / 49: the highest value is 7/8 * 7/8.
            dark = channel.min()
            high = (channel.max() - dark) * 64 / 49
            assert np.abs(channel - dark - high * expected).max() < 1.6


def test_colors_are_light_on_dark_and_say_nothing(root: Path) -> None:
    images, labels = read_split(root, 'train', 10, 'x')
    dark = images[:, :, 31, 31] / 255
    assert 0 <= dark.min() < 0.01 and 0.24 < dark.max() <= 0.251
    assert images.max() > 0.7 * 255
    # Means over images of a digit: five standard errors of a uniform one.
    error = 0.25 / 12**0.5 / np.bincount(labels) ** 0.5
    for digit in range(10):
        mean = dark[labels == digit].mean(0)
        assert (np.abs(mean - 0.125) < 5 * error[digit]).all()


def test_the_data_set_reads_it(root: Path) -> None:
    dataset = CIFAR100(str(root), flip=0, device='cpu')
    assert len(dataset) == 1297 and dataset.num_classes == 10
    assert dataset.metainfo['classes'] == DIGIT_CLASSES


def test_same_seed_same_bytes(root: Path) -> None:
    assert not write_digits(root)
    for name, seed in (('again', 0), ('other', 1)):
        write_digits(root.parent / name, seed)
    before = digests(root)
    assert digests(root.parent / 'again') == before
    other = digests(root.parent / 'other')
    # All but the names of the classes.
    assert len(set(before) & set(other)) == 1


def test_what_was_broken_off_is_written_anew(root: Path) -> None:
    part = begin_folder(root.parent / 'new')
    (part / 'rest').touch()
    (root.parent / 'new').mkdir()
    assert write_digits(root.parent / 'new')
    assert not part.exists()
    assert digests(root.parent / 'new') == digests(root)


def test_other_folders_are_refused(root: Path) -> None:
    with pytest.raises(ConfigError, match='something else') as caught:
        write_digits(root, seed=1)
    assert "'seed': 0" in str(caught.value)
    with pytest.raises(ConfigError, match='something else'):
        write_digits(root.parent)
    with pytest.raises(ConfigError, match='something else'):
        write_digits(root / 'digits.json')
    with pytest.raises(ConfigError, match='from 0'):
        write_digits(root.parent / 'new', seed=-1)


def test_without_scikit_learn_it_says_so(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, 'sklearn.datasets', None)
    with pytest.raises(ConfigError, match='not installed') as caught:
        write_digits(tmp_path / 'digits')
    assert 'pip install scikit-learn' in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_the_real_digits_fit(tmp_path: Path) -> None:
    pytest.importorskip('sklearn')
    write_digits(tmp_path / 'digits')
    train, test = (
        read_split(tmp_path / 'digits', split, 10, 'x')
        for split in ('train', 'test')
    )
    counts = np.bincount(train.labels) + np.bincount(test.labels)
    assert counts.tolist() == list(COUNTS)
    # As configs/_base_/datasets/digits.py has them.
    assert abs(train.images.mean() - 85) < 10
    assert abs(train.images.std() - 60) < 10


@pytest.mark.parametrize('text', ['{', '[' * 10**6, b'\xff', '1' * 5000])
def test_a_broken_stamp_is_refused(tmp_path: Path, text) -> None:
    data = text.encode() if isinstance(text, str) else text
    (tmp_path / 'digits.json').write_bytes(data)
    with pytest.raises(ConfigError, match='stamp of the digits') as caught:
        write_digits(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert (tmp_path / 'digits.json').read_bytes() == data
