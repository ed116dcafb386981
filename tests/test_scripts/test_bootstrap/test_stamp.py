"""Set-up runs again when, and only when, something it rests on changed."""

import shutil

import pytest

from scripts.bootstrap import stamp as module
from scripts.bootstrap.stamp import Stamp, compute_digest


def test_stamp_reads_back(tmp_path):
    stamp = Stamp('abc', 'cpu')
    stamp.write(tmp_path)
    assert Stamp.read(tmp_path) == stamp


@pytest.mark.parametrize('text', [None, '', '{"other": 1}', '[1]', '{'])
def test_missing_or_broken_stamp_is_empty(tmp_path, text):
    if text is not None:
        (tmp_path / module._NAME).write_text(text)
    assert Stamp.read(tmp_path) == Stamp()
    assert not Stamp.read(tmp_path).is_current('abc')


@pytest.mark.parametrize(
    ('cuda', 'force', 'current'),
    [
        ('cpu', '', True),
        ('cuda13.0-9.0', '', True),
        ('cpu', '1', False),
        ('cuda13.0-9.0', '1', True),
        ('cuda13.0-9.0', '0', False),
        ('cpu', '0', True),
    ],
)
def test_other_wish_for_cuda(monkeypatch, cuda, force, current):
    monkeypatch.setenv('FORCE_CUDA', force)
    assert Stamp('abc', cuda).is_current('abc') is current
    assert not Stamp('abc', cuda).is_current('abd')


def test_digest_follows_pins_python_and_place(monkeypatch, tmp_path):
    copy = tmp_path / 'requirements'
    shutil.copytree(module.REQUIREMENTS, copy)
    monkeypatch.setattr(module, 'REQUIREMENTS', copy)
    first = compute_digest('3.11.7')
    assert compute_digest('3.11.7') == first
    assert compute_digest('3.12.1') != first
    pins = copy / 'torch.txt'
    pins.write_text(pins.read_text().replace('2.11.0', '2.12.0'))
    assert compute_digest('3.11.7') != first
    shutil.copy(module.ROOT / 'setup.py', tmp_path)
    monkeypatch.setattr(module, 'ROOT', tmp_path)
    assert compute_digest('3.11.7') != first
