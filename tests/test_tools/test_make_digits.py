"""Test the command that writes the digits."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest


def load_digits():
    target = np.repeat(np.arange(10), 60)
    return SimpleNamespace(images=np.zeros((600, 8, 8)), target=target)


def test_writes_once_and_refuses_another_seed(
    load_tool, tmp_path, capsys, monkeypatch
):
    make = load_tool('make_digits').main
    module = SimpleNamespace(load_digits=load_digits)
    monkeypatch.setitem(sys.modules, 'sklearn.datasets', module)
    out = str(tmp_path / 'digits')
    make([out])
    assert 'the digits lie in' in capsys.readouterr().out
    assert (tmp_path / 'digits' / 'cifar-100-python' / 'train').exists()
    make([out])
    assert 'already' in capsys.readouterr().out
    with pytest.raises(SystemExit, match='something else'):
        make([out, '--seed', '1'])
