"""Test that pickles of data are read, and that none is run."""

from __future__ import annotations

import os
import pickle
import subprocess
from collections import OrderedDict
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import pytest

from mmtst.utils import plain_pickle
from mmtst.utils.plain_pickle import read_plain_pickle

CONTENT = {
    b'data': np.arange(12, dtype=np.uint8).reshape(2, 6),
    'turned': np.asfortranarray(np.arange(6, dtype='>i4').reshape(2, 3)),
    'none': np.zeros((0, 3), np.uint8),
    'labels': [1, 2, (3, None, True)],
    'number': np.int64(5),
    'text': 'é',
}

# What Python 2.7 and numpy 1.16 write, protocol 2, for {'data':
# numpy.array([[1, 2]], numpy.uint8), 'fine_labels': [7]}; put together by
# hand from the opcodes, the memo left out.
PYTHON_2 = (
    b'\x80\x02}(U\x04datacnumpy.core.multiarray\n_reconstruct\n'
    b'cnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x01K\x02\x86'
    b'cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNN'
    b'J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x02\x01\x02tb'
    b'U\x0bfine_labels]K\x07au.'
)


def written(folder: Path, content: bytes) -> Path:
    path = folder / 'file'
    path.write_bytes(content)
    return path


class Call:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> Any:
        return self.reduced


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_comes_back(tmp_path: Path, protocol: int) -> None:
    path = written(tmp_path, pickle.dumps(CONTENT, protocol))
    got = read_plain_pickle(path)
    assert list(got) == list(CONTENT)
    for name, value in CONTENT.items():
        if isinstance(value, np.ndarray):
            assert got[name].dtype == value.dtype
            assert got[name].shape == value.shape
            assert got[name].flags.writeable
            np.testing.assert_array_equal(got[name], value)
        else:
            assert got[name] == value
            assert type(got[name]) is type(value)


def test_python_2_is_read(tmp_path: Path) -> None:
    # The bytes are right: the real reader takes them for the same.
    expected = pickle.loads(PYTHON_2, encoding='bytes')
    got = read_plain_pickle(written(tmp_path, PYTHON_2))
    assert got.keys() == expected.keys() == {b'data', b'fine_labels'}
    assert got[b'fine_labels'] == expected[b'fine_labels'] == [7]
    np.testing.assert_array_equal(got[b'data'], expected[b'data'])
    assert got[b'data'].dtype == np.uint8


@pytest.mark.parametrize('protocol', [0, 2, 4, 5])
@pytest.mark.parametrize('function', [os.system, eval, subprocess.call])
def test_calls_are_not_made(tmp_path: Path, function, protocol: int) -> None:
    proof = tmp_path / 'proof'
    told = {os.system: f'touch {proof}', eval: f'open({str(proof)!r}, "w")'}
    call = Call(function, told.get(function, ['touch', str(proof)]))
    content = pickle.dumps([call], protocol)
    path = written(tmp_path, content)
    with pytest.raises(UnpicklingError, match='could run code'):
        read_plain_pickle(path)
    assert not proof.exists()
    # The file does what it is said to do where it may.
    pickle.loads(content)
    assert proof.exists()


@pytest.mark.parametrize(
    'value',
    [
        OrderedDict(a=1),
        np.array([object()], object),
        np.array([(1,)], [('field', 'i4')]),
        np.datetime64('2000-01-01'),
        print,
        int,
        partial(int, '1'),
        Call(getattr, 'text', 'upper'),
    ],
    # Their own would name addresses, which differ between processes.
    ids=lambda value: type(value).__name__,
)
def test_nothing_else_is_made(tmp_path: Path, value) -> None:
    with pytest.raises(UnpicklingError):
        read_plain_pickle(written(tmp_path, pickle.dumps([value])))


@pytest.mark.parametrize(
    'name', ['numpy.core.multiarray\nscalar', '_codecs\nencode']
)
@pytest.mark.parametrize('state', [b'}', b'N}\x86'])
def test_functions_of_ours_are_not_changed(
    tmp_path: Path, name: str, state: bytes
) -> None:
    """BUILD on a bare function would set its attributes."""
    state = state.replace(b'}', b'}X\x01\x00\x00\x00aK\x05s')
    path = written(tmp_path, b'\x80\x02c' + name.encode() + b'\n' + state)
    path.write_bytes(path.read_bytes() + b'b.')
    with pytest.raises(UnpicklingError, match='to be changed'):
        read_plain_pickle(path)
    known = plain_pickle._GLOBALS[name.replace('\n', '.')]._function
    assert not hasattr(known, 'a')


@pytest.mark.parametrize('name', ['numpy\nndarray', 'numpy\ndtype'])
def test_classes_of_ours_are_not_changed(tmp_path: Path, name: str) -> None:
    body = b'N}X\x05\x00\x00\x00_codeX\x02\x00\x00\x00u1s\x86b.'
    path = written(tmp_path, b'\x80\x02c' + name.encode() + b'\n' + body)
    before = dict(vars(plain_pickle._GLOBALS[name.replace('\n', '.')]))
    with pytest.raises(UnpicklingError):
        read_plain_pickle(path)
    assert vars(plain_pickle._GLOBALS[name.replace('\n', '.')]) == before


@pytest.mark.parametrize('protocol', [2, 4, 5])
def test_every_cut_is_noticed(tmp_path: Path, protocol: int) -> None:
    content = pickle.dumps(CONTENT, protocol)
    for end in range(len(content)):
        with pytest.raises(UnpicklingError):
            read_plain_pickle(written(tmp_path, content[:end]))


@pytest.mark.parametrize('seed', range(20))
def test_noise_raises_nothing_but_what_is_promised(
    tmp_path: Path, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    content = bytearray(pickle.dumps(CONTENT, 4))
    for place in rng.integers(0, len(content), 5):
        content[place] = rng.integers(256)
    try:
        read_plain_pickle(written(tmp_path, bytes(content)))
    except UnpicklingError:
        pass


def test_a_shape_beyond_the_data_is_refused(tmp_path: Path) -> None:
    content = PYTHON_2.replace(b'K\x01K\x02\x86', b'K\x01K\x09\x86')
    assert content != PYTHON_2
    with pytest.raises(UnpicklingError, match='do not fill its shape'):
        read_plain_pickle(written(tmp_path, content))


def test_a_missing_file_stays_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_plain_pickle(tmp_path / 'no')
