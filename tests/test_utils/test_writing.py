"""Test that what cannot be written is named."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch

from mmtst.utils.writing import writing


def test_a_full_disk_is_named() -> None:
    full = Path('/dev/full')
    if not full.exists():
        pytest.skip('no such device here')
    with (
        pytest.raises(OSError, match='No space') as caught,
        writing('a/b.png'),
        full.open('wb', buffering=0) as file,
    ):
        file.write(b'x')
    assert caught.value.filename == 'a/b.png'


def test_torchs_own_error_is_named() -> None:
    if not Path('/dev/full').exists():
        pytest.skip('no such device here')
    with pytest.raises(OSError, match=r'a\.pth'), writing('a.pth'):
        torch.save({'x': torch.zeros(10_000)}, '/dev/full')


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match='shapes'), writing('a'):
        raise RuntimeError('shapes differ')
    with writing('a'):
        io.BytesIO().write(b'')
