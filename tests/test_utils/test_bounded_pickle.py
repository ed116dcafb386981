"""Check that small pickles take neither long nor much."""

from __future__ import annotations

import io
import pickle
import struct
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mmtst.utils import bounded_pickle
from mmtst.utils.bounded_pickle import (
    BoundedUnpickler,
    Source,
)
from mmtst.utils.bounded_tree import BoundError
from mmtst.utils.plain_pickle import read_plain_pickle
from mmtst.utils.safe_reading import CheckpointError, read_safely

COLLIDING = (1 << 61) - 1


def text(value: str) -> bytes:
    data = value.encode()
    return b'X' + struct.pack('<I', len(data)) + data


def tuples(levels: int) -> bytes:
    """Return a tuple that holds another twice, and so on."""
    return b')q\x00' + b'h\x00h\x00\x86q\x00' * levels + b'0'


def lists(levels: int) -> bytes:
    return b']q\x00' + b'](h\x00h\x00eq\x00' * levels


def number(value: int) -> bytes:
    data = pickle.encode_long(value)
    return b'\x8a' + bytes([len(data)]) + data


def copies(count: int) -> bytes:
    """Return calls that each copy one long text."""
    call = b'c_codecs\nencode\nh\x01h\x02\x86R0'
    long, code = text('x' * 100_000), text('latin1')
    return long + b'q\x01' + code + b'q\x02' + b'00' + call * count


def arrays(count: int) -> bytes:
    """Return arrays that each copy the same data."""
    start = (
        b'cnumpy.core.multiarray\n_reconstruct\n'
        b'cnumpy\nndarray\nK\x00\x85U\x01b\x87R'
    )
    kind = b'cnumpy\ndtype\n' + text('u1') + b'K\x00K\x01\x87R'
    state = b'(K\x01J\xa0\x86\x01\x00\x85h\x03\x89h\x04tb0'
    held = text('x' * 100_000) + text('latin1') + b'\x86'
    encoded = b'c_codecs\nencode\n' + held + b'Rq\x040'
    return kind + b'q\x030' + encoded + (start + state) * count


# What each would take by itself is said beside it.
BOMBS: dict[str, bytes] = {
    # Not to end, or many minutes.
    'nested key': tuples(64) + b'}h\x00Ns',
    'nested key, at once': b'}(' + tuples(64) + b'h\x00Nu',
    'nested key in a dictionary': b'(' + tuples(64) + b'h\x00Nd',
    'shared lists': lists(64),
    'shared tuples': tuples(64) + b'h\x00',
    'lists within lists': b']' * 20_000 + b'a' * 19_999,
    'a list in itself': b']q\x00h\x00a',
    'a tuple in itself': b']q\x00h\x00\x85a',
    'a dictionary in itself': b'}q\x00K\x01h\x00s',
    'keys that collide': b'}('
    + b''.join(number(i * COLLIDING) + b'N' for i in range(1, 20_000))
    + b'u',
    # Gigabytes.
    'copies of a text': copies(30_000) + b'N',
    'copies of an array': arrays(30_000) + b'N',
    'a number of many digits': b'\x8b\x00\x10\x00\x00' + b'\x7f' * 4096,
    'a number of many digits, as text': b'L0x' + b'f' * 4000 + b'L\n',
    'a long text, declared': b'X\xf0\xff\xff\xff',
    'long bytes, declared': b'\x8e' + struct.pack('<Q', 1 << 40),
    'a long array of bytes, declared': b'\x96' + struct.pack('<Q', 1 << 40),
    'a long frame, declared': b'\x95' + struct.pack('<Q', 1 << 40),
    'a line without end': b'V' + b'x' * 1000,
}


def within(seconds: float, mebibytes: int, run: Callable[[], Any]) -> None:
    tracemalloc.start()
    started = time.process_time()
    try:
        run()
    finally:
        took = time.process_time() - started
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert took < seconds
    assert most < mebibytes << 20


@pytest.mark.parametrize('name', BOMBS)
def test_bombs_are_refused_early(tmp_path: Path, name: str) -> None:
    path = tmp_path / 'file'
    path.write_bytes(b'\x80\x02' + BOMBS[name] + b'.')

    def read() -> None:
        with pytest.raises(BoundError):
            read_plain_pickle(path)

    within(20, 300, read)


@pytest.mark.parametrize('name', BOMBS)
@pytest.mark.parametrize('legacy', [False, True], ids=['zip', 'legacy'])
def test_checkpoints_are_no_way_round(name: str, legacy: bool) -> None:
    file = io.BytesIO()
    torch.save('mark', file, _use_new_zipfile_serialization=not legacy)
    content = file.getvalue()
    mark = b'\x80\x02' + text('mark') + b'q\x00.'
    assert mark in content
    if not legacy:
        content = replace_pickle(content, b'\x80\x02' + BOMBS[name] + b'.')
    else:
        content = content.replace(mark, b'\x80\x02' + BOMBS[name] + b'.')

    def read() -> None:
        with pytest.raises(CheckpointError, match='cannot be read') as caught:
            read_safely('x', content)
        assert 'trust' not in str(caught.value)

    within(20, 300, read)


def replace_pickle(content: bytes, program: bytes) -> bytes:
    target = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as source,
        zipfile.ZipFile(target, 'w') as written,
    ):
        for part in source.infolist():
            data = source.read(part)
            if part.filename.endswith('data.pkl'):
                data = program
            written.writestr(part.filename, data)
    return target.getvalue()


def load(program: bytes) -> Any:
    source = Source(io.BytesIO(program), len(program))
    return BoundedUnpickler(source, len(program)).load()


def test_a_memo_far_out_takes_no_memory() -> None:
    """Pickle's own makes a table up to the index."""
    assert load(b'\x80\x02Nr\xff\xff\xff\xff.') is None
    assert load(b'Np4294967295\n.') is None


def test_plain_keys_and_values_come_through() -> None:
    content = {
        1: [2.5, (None, True)],
        'a': {b'b': {('c', 3): frozenset([4])}},
        2.5: {5, 6},
        1 << 60: bytearray(b'7'),
    }
    for protocol in (2, 4, 5):
        program = pickle.dumps(content, protocol)
        if protocol == 5:
            assert load(program) == content
        else:
            # Before, arrays of bytes and sets were calls.
            with pytest.raises(pickle.UnpicklingError, match='asks for'):
                load(program)


@pytest.mark.parametrize(
    'program',
    [
        b'\xff.',
        b'N',
        b'.',
        b'N0.',
        b't.',
        b'NN\x86R.',
        b'N)R.',
        b']N\x81.',
        b'NN\x81.',
        b'NNb.',
        b'(]NNu.',
        b'](NNu.',
        b'](NNNu.',
        b'}NNa.',
        b'](Ne(N\x90.',
        b'\x82\x01.',
        b'\x97.',
        b'h\x00.',
        b'(.',
    ],
    ids=repr,
)
def test_wrong_programs_are_one_error(program: bytes) -> None:
    with pytest.raises(pickle.UnpicklingError):
        load(program)


def test_too_many_steps_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_pickle._Counted, 'left', 10)
    assert load(b'N' * 9 + b'.') is None
    with pytest.raises(BoundError, match='too many parts'):
        load(b'N' * 10 + b'.')
