"""Test the reading of CIFAR-100's files, and of files that are not."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmtst.datasets.cifar_files import (
    LabelledImages,
    read_classes,
    read_split,
    write_files,
)
from mmtst.testing.cifar import write_cifar100
from mmtst.utils.errors import ConfigError

WHERE = 'train_dataloader.dataset'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_cifar100(tmp_path / 'set', num_classes=3, per_class=2)


def content_of(path: Path) -> dict[bytes, Any]:
    return pickle.loads(path.read_bytes())


def change(root: Path, name: str, **entries: Any) -> None:
    """Write a file anew, ``None`` for an entry that is to go."""
    path = root / 'cifar-100-python' / name
    content = content_of(path)
    for key, value in entries.items():
        content[key.encode()] = value
        if value is None:
            del content[key.encode()]
    path.write_bytes(pickle.dumps(content))


def test_pixels_come_as_the_authors_lay_them_out(root: Path) -> None:
    """Red first, row by row."""
    data = np.arange(3072, dtype=np.int64).astype(np.uint8)[None].copy()
    change(root, 'train', data=data, fine_labels=[2])
    images, labels = read_split(root, 'train', 3, WHERE)
    assert images.shape == (1, 3, 32, 32) and images.dtype == np.uint8
    assert labels.tolist() == [2] and labels.dtype == np.int64
    for channel, row, column in ((0, 0, 5), (0, 1, 0), (1, 2, 3), (2, 31, 31)):
        value = (1024 * channel + 32 * row + column) % 256
        assert images[0, channel, row, column] == value


def test_both_splits_and_the_names(root: Path) -> None:
    assert read_classes(root, WHERE) == ('class00', 'class01', 'class02')
    for split in ('train', 'test'):
        raw = content_of(root / 'cifar-100-python' / split)
        images, labels = read_split(str(root), split, 3, WHERE)
        assert np.array_equal(images.reshape(6, -1), raw[b'data'])
        assert labels.tolist() == raw[b'fine_labels']
    assert sorted(labels) == [0, 0, 1, 1, 2, 2]


def test_names_of_entries_may_be_text(root: Path) -> None:
    """As files are that were written anew by Python 3."""
    for name in ('train', 'meta'):
        path = root / 'cifar-100-python' / name
        content = {k.decode(): v for k, v in content_of(path).items()}
        if name == 'meta':
            content = {'fine_label_names': ['a', 'b', 'c']}
        else:
            content['fine_labels'] = np.asarray(content['fine_labels'], 'u1')
        path.write_bytes(pickle.dumps(content))
    assert read_classes(root, WHERE) == ('a', 'b', 'c')
    assert len(read_split(root, 'train', 3, WHERE).labels) == 6


def test_what_is_written_is_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    splits = {
        name: LabelledImages(
            rng.integers(0, 256, (count, 3, 32, 32), np.uint8),
            rng.integers(0, 2, count),
        )
        for name, count in (('train', 5), ('test', 3))
    }
    write_files(tmp_path / 'new', splits, ['é', 'b'])
    assert read_classes(tmp_path / 'new', WHERE) == ('é', 'b')
    for name, (images, labels) in splits.items():
        got = read_split(tmp_path / 'new', name, 2, WHERE)
        assert np.array_equal(got.images, images)
        assert np.array_equal(got.labels, labels)


class Call:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> Any:
        return self.reduced


@pytest.mark.parametrize('name', ['train', 'meta'])
def test_a_payload_is_not_run(root: Path, tmp_path: Path, name: str) -> None:
    proof = tmp_path / 'proof'
    change(root, name, payload=Call(os.system, f'touch {proof}'))
    with pytest.raises(ConfigError, match=r'asks for \w+.system') as caught:
        read(root, name)
    assert not proof.exists()
    assert f'{WHERE}.data_root' in str(caught.value)
    # It would have.
    content_of(root / 'cifar-100-python' / name)
    assert proof.exists()


def read(root: Any, name: str) -> Any:
    if name == 'meta':
        return read_classes(root, WHERE)
    return read_split(root, name, 3, WHERE)


@pytest.mark.parametrize('name', ['train', 'test', 'meta'])
@pytest.mark.parametrize('kept', [0.0, 0.5, 0.99])
def test_a_file_cut_short_is_refused(
    root: Path, name: str, kept: float
) -> None:
    path = root / 'cifar-100-python' / name
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ConfigError, match='is not read') as caught:
        read(root, name)
    text = str(caught.value)
    assert str(path) in text and 'unpack the archive again' in text


@pytest.mark.parametrize(
    'content', [b'no pickle', b'\x89PNG\r\n', pickle.dumps([1, 2])]
)
def test_other_files_are_refused(root: Path, content: bytes) -> None:
    path = root / 'cifar-100-python' / 'train'
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read(root, 'train')
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ('entries', 'words'),
    [
        (dict(data=None), ('no data', 'the entries fine_labels')),
        (dict(fine_labels=None, labels=[0] * 6), ('no fine_labels', 'labels')),
        (dict(data=[[0] * 3072] * 6), ('no array', 'a list of 6')),
        (dict(data=np.zeros((6, 3071), np.uint8)), ('(6, 3071)', '(N, 3072)')),
        (dict(data=np.zeros((6, 3, 32, 32), np.uint8)), ('(6, 3, 32, 32)',)),
        (dict(data=np.zeros((0, 3072), np.uint8)), ('N at least 1',)),
        (dict(data=np.zeros((6, 3072), np.float32)), ('float32', 'uint8')),
        (dict(fine_labels=[0, 1]), ('a list of 2', '6 whole numbers')),
        (dict(fine_labels=[0.0] * 6), ('not one number for each image',)),
        (dict(fine_labels=['a'] * 6), ('not one number for each image',)),
        (dict(fine_labels=[True] * 6), ('not one number for each image',)),
        (dict(fine_labels=[[0], [1, 2]] * 3), ('not one number',)),
        (dict(fine_labels=[[0]] * 6), ('not one number',)),
        (dict(fine_labels=[2**70] * 6), ('not one number',)),
        (dict(fine_labels={}), ('dict',)),
        (dict(fine_labels=[0, 1, 2, 3, 0, 1]), ('0 to 3', '0 to 2')),
        (dict(fine_labels=[0, 1, 2, -1, 0, 1]), ('-1 to 2', '0 to 2')),
    ],
)
def test_misfits_are_named(root: Path, entries, words) -> None:
    change(root, 'train', **entries)
    with pytest.raises(ConfigError) as caught:
        read(root, 'train')
    text = str(caught.value)
    for word in (*words, f'{WHERE}.data_root', 'cifar-100-python/train'):
        assert word in text


@pytest.mark.parametrize(
    'names',
    [None, [], [b'a', b'a'], ['a', 3], ['a', ''], 'abc', np.zeros(3)],
    ids=repr,
)
def test_names_are_different_texts(root: Path, names: Any) -> None:
    change(root, 'meta', fine_label_names=names)
    with pytest.raises(ConfigError, match='fine_label_names'):
        read(root, 'meta')


@pytest.mark.parametrize(
    ('missing', 'words'),
    [
        ('.', 'the data root is not there'),
        ('cifar-100-python', 'holds no cifar-100-python'),
        ('cifar-100-python/meta', 'no file meta'),
        ('cifar-100-python/train', 'no file train'),
    ],
)
def test_what_is_missing_is_named(root: Path, missing: str, words) -> None:
    path = root / missing
    path.rename(root.parent / 'elsewhere')
    with pytest.raises(ConfigError, match=words) as caught:
        read(root, 'meta' if 'train' not in missing else 'train')
    text = str(caught.value)
    assert f'{WHERE}.data_root' in text and str(path) in text
    assert '--data-root DIR' in text and 'nothing is downloaded' in text


@pytest.mark.parametrize('root', [None, '', 3, ['a']])
def test_no_folder_is_refused(root: Any) -> None:
    with pytest.raises(ConfigError, match='no folder'):
        read(root, 'meta')


def test_a_folder_in_the_place_of_a_file_is_refused(root: Path) -> None:
    path = root / 'cifar-100-python' / 'train'
    path.unlink()
    path.mkdir()
    with pytest.raises(ConfigError, match='cannot be read'):
        read(root, 'train')
