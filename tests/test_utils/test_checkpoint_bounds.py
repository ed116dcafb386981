"""Check that a checkpoint is held against what it has."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from torch_files import Call, in_pickle, saved, zipped

from mmtst.utils import checkpoint_bounds
from mmtst.utils.safe_reading import CheckpointError, read_safely

pytestmark = pytest.mark.usefixtures('checkpoints_as_before')


def read(content: bytes) -> Any:
    return read_safely('x', content, 'cpu')


def refuse(content: bytes, message: str) -> str:
    with pytest.raises(CheckpointError, match=message) as caught:
        read(content)
    assert 'weights_only' not in str(caught.value)
    return str(caught.value)


def plain_values() -> dict[str, Any]:
    layer = torch.nn.Linear(3, 2)
    named = torch.nn.Parameter(torch.ones(2))
    named.mark = 'kept'
    return {
        'state': torch.nn.BatchNorm2d(3).state_dict(),
        'parameter': layer.weight,
        'with attribute': named,
        'turned': torch.arange(6.0).view(2, 3).t(),
        'expanded': torch.ones(1).expand(4, 5),
        'views': [torch.arange(9)[2:], torch.zeros(0, 3), torch.tensor(1)],
        'kinds': [
            torch.ones(2, dtype=kind)
            for kind in (torch.bfloat16, torch.bool, torch.complex64)
        ],
        'dtype': torch.float16,
        'size': torch.Size([2, 3]),
        'device': torch.device('cpu'),
        'layout': torch.strided,
        'set': {1, 'a', (2, 3)},
        'bytes': [b'\x80', bytearray(b'2')],
        'complex': 1j,
        'counter': Counter('aab'),
        'table': OrderedDict(a=1),
        'history': HistoryBuffer([1.0], [1]),
        'array': np.arange(3),
        'big': 1 << 127,
    }


@pytest.mark.parametrize('legacy', [False, True], ids=['zip', 'legacy'])
def test_what_is_plain_comes_through(legacy: bool) -> None:
    wanted = plain_values()
    got = read(saved(wanted, legacy))
    assert list(got) == list(wanted)
    torch.testing.assert_close(got['state'], wanted['state'])
    assert got['with attribute'].mark == 'kept'
    for key in ('parameter', 'turned', 'expanded'):
        assert torch.equal(got[key], wanted[key])
        assert got[key].stride() == wanted[key].stride()
    for key in ('views', 'kinds'):
        for own, other in zip(got[key], wanted[key], strict=True):
            assert own.dtype == other.dtype and torch.equal(own, other)
    same = ('dtype', 'size', 'device', 'layout', 'set', 'bytes', 'complex')
    for key in (*same, 'counter', 'table', 'big'):
        assert got[key] == wanted[key] and type(got[key]) is type(wanted[key])
    assert got['history'].mean() == 1.0


def test_storages_of_their_own_and_of_python_2_come_through() -> None:
    got = read(saved(torch.arange(3, dtype=torch.uint8).untyped_storage()))
    assert got.tolist() == [0, 1, 2]
    pairs = Call(OrderedDict, [['a', torch.ones(2)], ['b', 1]])
    assert list(read(saved(pairs))) == ['a', 'b']


def test_a_zip_may_be_compressed_a_little() -> None:
    content = saved({'x': torch.randn(1000)})
    got = read(zipped(content, method=zipfile.ZIP_DEFLATED))
    assert got['x'].shape == (1000,)


def test_more_elements_than_there_are_are_refused() -> None:
    """torch reads on past the end of what it has: another's memory."""
    content = saved({'x': torch.ones(4)})
    # Both the storage and the tensor say 0x7f elements.
    more = in_pickle(b'K\x04', b'K\x7f')
    refuse(zipped(content, more), 'less of a tensor than it says')
    huge = in_pickle(b'K\x04', b'\x8a\x06\x00\x00\x00\x00\x00\x01')
    refuse(zipped(content, huge), 'less of a tensor than it says')
    legacy = saved({'x': torch.ones(4)}, legacy=True)
    for size in (b'K\x7f', b'\x8a\x06\x00\x00\x00\x00\x00\x01'):
        refuse(legacy.replace(b'K\x04', size), 'less of a ten|ends too early')


def test_zips_that_grow_are_refused() -> None:
    content = saved({'x': torch.ones(4)})

    def add_part(parts: Any) -> Any:
        return [*parts, ('archive/data/9', b'\0' * (80 << 20))]

    def grow_pickle(parts: Any) -> Any:
        return [
            (name, b']' * (1 << 22) if 'data.pkl' in name else data)
            for name, data in parts
        ]

    for change in (add_part, grow_pickle):
        bomb = zipped(content, change, zipfile.ZIP_DEFLATED)
        assert len(bomb) < 100_000
        refuse(bomb, 'would unpack to')


def test_parts_of_one_name_are_refused() -> None:
    content = saved({'x': torch.ones(4)})

    def twice(parts: Any) -> Any:
        return [*parts, ('archive/DATA.PKL', b'N.')]

    refuse(zipped(content, twice), 'two parts of one name')


def test_other_zips_are_said_to_be_none(tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as archive:
        archive.writestr('word/document.xml', '<xml/>')
    refuse(file.getvalue(), 'torch.save does not write')
    script = tmp_path / 'script.pt'
    torch.jit.save(torch.jit.script(torch.nn.ReLU()), script)
    text = refuse(script.read_bytes(), 'TorchScript')
    assert 'trust' not in text


def test_a_tar_is_said_to_be_none() -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode='w') as archive:
        for name in ('storages', 'tensors', 'pickle'):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    assert 'trust' not in refuse(file.getvalue(), 'tar archive')


def test_legacy_storages_and_tensors_have_to_agree() -> None:
    """torch leaves the memory of one that is not listed unwritten."""
    value = {'x': torch.ones(4)}
    content = saved(value, legacy=True)
    keys_at = content.rindex(b'\x80\x02]q\x00')
    end = content.index(b'.', keys_at) + 1
    without = content[:keys_at] + b'\x80\x02].' + content[end:]
    refuse(without, 'do not agree')
    assert torch.equal(read(content)['x'], value['x'])


def test_every_cut_of_a_checkpoint_is_noticed() -> None:
    value = {'x': torch.arange(4.0), 'y': [1, 'a']}
    for legacy in (False, True):
        content = saved(value, legacy)
        for end in range(0, len(content), 7):
            refuse(content[:end], 'cannot be read')


def test_storages_are_not_read_twice() -> None:
    """The bounds look at the directory and the pickle alone."""
    content = saved({'x': torch.zeros(1 << 20)})
    read_bytes = []

    class Counting(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            read_bytes.append(len(data))
            return data

    checkpoint_bounds.check_checkpoint(Counting(content))
    assert len(content) > 4 << 20 and sum(read_bytes) < 200_000
