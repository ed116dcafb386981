"""Check that what a pickle makes is held against what it has."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Any

import pytest
import torch
from mmengine.logging import HistoryBuffer
from torch_files import Call, in_pickle, saved, zipped

from mmtst.utils.safe_reading import (
    CheckpointError,
    read_safely,
    trust_checkpoints,
)

pytestmark = pytest.mark.usefixtures('checkpoints_as_before')


def read(content: bytes) -> Any:
    return read_safely('x', content, 'cpu')


def refuse(content: bytes, message: str) -> str:
    with pytest.raises(CheckpointError, match=message) as caught:
        read(content)
    assert 'weights_only' not in str(caught.value)
    return str(caught.value)


def test_a_tensor_beyond_its_storage_is_refused() -> None:
    """torch makes the storage larger, and leaves it unwritten."""
    content = saved({'x': torch.ones(4)})
    for old, new in (
        (b'K\x04\x85', b'K\x7f\x85'),
        (b'K\x04\x85', b'\x8a\x06\x00\x00\x00\x00\x00\x01\x85'),
        (b'K\x00K\x04\x85', b'K\x01K\x04\x85'),
        (b'K\x01\x85', b'K\x02\x85'),
    ):
        refuse(zipped(content, in_pickle(old, new)), 'larger than its st')
        legacy = saved({'x': torch.ones(4)}, legacy=True)
        assert old in legacy
        refuse(legacy.replace(old, new), 'larger than its storage')


def test_tensors_that_are_expanded_far_are_refused() -> None:
    refuse(saved(torch.ones(1).expand(1 << 20, 1 << 20)), 'many times larger')
    # Each within bounds, all of them not.
    shared = torch.ones(1 << 16)
    refuse(saved([shared[:] for _ in range(3000)]), 'many times larger')


@pytest.mark.parametrize(
    'call',
    [
        Call(bytearray, 1 << 40),
        Call(torch.FloatTensor, 1 << 40),
        Call(torch.Tensor, 1 << 40),
        Call(torch.nn.Parameter, Call(torch.FloatTensor, 1 << 40)),
        Call(
            torch._utils._rebuild_meta_tensor_no_storage,
            torch.float32,
            (1 << 40,),
            (1,),
            False,
        ),
        Call(HistoryBuffer, [[[0]] * 2] * 2, [1]),
        Call(Counter, 'a'),
        Call(set, 'a'),
    ],
    ids=lambda call: call.reduced[0].__name__,
)
def test_calls_that_take_what_they_are_told_to_are_refused(call: Any) -> None:
    with pytest.raises(CheckpointError):
        read(saved({'x': call}))


def test_tensors_of_other_layouts_are_refused_by_name() -> None:
    sparse = torch.eye(3).to_sparse()
    assert '_rebuild_sparse_tensor' in refuse(saved(sparse), 'asks for torch')
    quantized = torch.quantize_per_tensor(torch.ones(2), 1, 0, torch.qint8)
    assert '_rebuild_qtensor' in refuse(saved(quantized), 'asks for torch')
    # Whoever trusts the file gets them.
    trust_checkpoints()
    assert read(saved(sparse)).is_sparse


def test_hooks_are_refused() -> None:
    storage = torch.storage.TypedStorage(
        wrap_storage=torch.ones(4).untyped_storage(),
        dtype=torch.float32,
        _internal=True,
    )
    rebuild = torch._utils._rebuild_tensor_v2
    shape = (storage, 0, (4,), (1,), False)
    got = read(saved(Call(rebuild, *shape, OrderedDict())))
    assert torch.equal(got, torch.ones(4))
    refuse(saved(Call(rebuild, *shape, OrderedDict(a=1))), 'with hooks')
