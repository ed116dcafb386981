"""Check that numpy's values come back, and nothing but plain values."""

from __future__ import annotations

import io
import pickle
import struct

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from numpy._core import multiarray

from mmtst.utils.numpy_stand_ins import (
    ArrayStandIn,
    DtypeStandIn,
    restore,
)
from mmtst.utils.safe_reading import CheckpointError, read_safely

VALUES = [
    np.arange(6.0).reshape(2, 3),
    np.asfortranarray(np.arange(6, dtype='i2').reshape(2, 3)),
    np.array([1, 2], '>f4'),
    np.array([True, False]),
    np.array(1 + 2j),
    np.zeros((0, 3), 'u1'),
    np.array(['ab', 'c']),
    np.array([b'ab', b'']),
    np.array([1.5], np.longdouble),
    np.arange(8.0)[::2],
    np.float32(1.5),
    np.int64(-3),
    np.bool_(True),
    np.str_('name'),
    np.str_(''),
    np.dtype('>f8'),
    np.dtype('U7'),
]


class Reduced:
    def __init__(self, *reduced):
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced


def read(value):
    file = io.BytesIO()
    torch.save(value, file)
    return read_safely('x', file.getvalue())


def make_array(dtype, data, shape=(1,)):
    start = multiarray._reconstruct, (np.ndarray, (0,), b'b')
    return Reduced(*start, (1, shape, dtype, False, data))


@pytest.mark.parametrize('value', VALUES, ids=repr)
def test_values_come_back(value):
    got = read({'x': value})['x']
    assert type(got) is type(value)
    if isinstance(value, np.dtype):
        assert got == value
        return
    assert got.dtype == value.dtype
    assert np.array_equal(got, value)
    if isinstance(value, np.ndarray):
        assert got.flags.writeable
        assert got.flags.f_contiguous == value.flags.f_contiguous or (
            not value.flags.contiguous
        )


def test_containers_are_restored_throughout():
    buffer = HistoryBuffer([1.0, 2.0], [1, 1])
    shared = [np.arange(2)]
    got = read(
        {
            'nested': [{'t': (np.arange(3), 'text')}],
            'history': buffer,
            'one': shared,
            'two': shared,
        }
    )
    assert np.array_equal(got['nested'][0]['t'][0], np.arange(3))
    assert got['history'].mean() == 1.5
    got['history'].update(3.0)
    assert got['history'].current() == 3.0
    assert got['one'] is got['two']
    assert np.array_equal(got['one'][0], np.arange(2))


def test_cycles_and_wide_sharing_end():
    loop = [ArrayStandIn()]
    loop[0].__setstate__((1, (1,), DtypeStandIn('u1'), False, b'a'))
    loop.append(loop)
    assert restore(loop)[1] is loop
    assert isinstance(loop[0], np.ndarray)
    wide = (np.float32(1),)
    for _ in range(60):
        wide = (wide, wide)
    # As many leaves as 2 ** 60, were it not for the memory of what is done.
    assert restore(wide)[0] is not None


OBJECT = Reduced(np.dtype, ('O8', False, True))
POINTERS = struct.pack('<Q', 0x41414141)
ONE_FIELD = (3, '<', None, ('a',), {'a': (OBJECT, 0)}, 8, 8, 0)
FLOAT = ('f8', False, True)


@pytest.mark.parametrize(
    'value',
    [
        # Bytes that numpy would take for pointers: it crashes on a look.
        make_array(Reduced(np.dtype, FLOAT, ONE_FIELD), POINTERS),
        make_array(OBJECT, [1]),
        make_array(Reduced(np.dtype, ([('a', 'O')],)), POINTERS),
        make_array(Reduced(np.dtype, ('O,i4',)), POINTERS),
        Reduced(multiarray.scalar, (OBJECT, POINTERS)),
        np.array([None]),
        np.zeros(2, [('a', 'f4')]),
        # Sizes that do not agree.
        make_array(np.dtype('f8'), b'\0' * 8, (2,)),
        make_array(np.dtype('f8'), b'\0' * 8, (-1,)),
        make_array(np.dtype('f8'), 'text'),
        # A kibibyte of them would take gigabytes.
        make_array(np.dtype('S0'), b'', (1 << 30,)),
        make_array('f8', b'\0' * 8),
        Reduced(multiarray.scalar, (np.dtype('f8'), b'\0')),
        # Nothing follows, or not what numpy writes.
        Reduced(multiarray._reconstruct, (np.ndarray, (0,), b'b')),
        Reduced(multiarray._reconstruct, (torch.Tensor, (0,), b'b')),
        Reduced(np.dtype, FLOAT, (3, '<')),
        Reduced(np.dtype, FLOAT, (3, 'x', None, None, None, -1, -1, 0)),
        Reduced(np.dtype, (1,)),
    ],
)
def test_what_is_not_plain_is_refused(value):
    with pytest.raises(CheckpointError, match='a numpy'):
        read({'x': value})


def test_stand_ins_stand_for_nothing_by_themselves():
    with pytest.raises(pickle.UnpicklingError, match='without content'):
        restore([ArrayStandIn()])
    with pytest.raises(pickle.UnpicklingError, match='numpy dtype'):
        restore({'x': DtypeStandIn('V8')})
