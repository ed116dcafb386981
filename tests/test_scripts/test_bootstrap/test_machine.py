"""What the machine lacks is named before anything is installed."""

import shutil
import sysconfig
from collections import namedtuple

import pytest

from scripts.bootstrap import machine
from scripts.bootstrap.errors import SetupError

Usage = namedtuple('Usage', 'total used free')


@pytest.mark.parametrize('version', [(3, 9), (3, 13), (2, 7)])
def test_wrong_python(monkeypatch, version):
    monkeypatch.setattr(machine.sys, 'version_info', version)
    with pytest.raises(SetupError, match=r'needs Python 3\.10') as raised:
        machine.check_python()
    assert f'is {version[0]}.{version[1]}' in str(raised.value)


def test_python_without_venv(monkeypatch):
    monkeypatch.setattr(
        machine.importlib.util,
        'find_spec',
        lambda name: None if name == 'ensurepip' else object(),
    )
    with pytest.raises(SetupError, match=r'apt install python3\.\d+-venv'):
        machine.check_python()


def test_this_python_is_fit():
    assert machine.check_python() is None


@pytest.mark.parametrize(('free', 'enough'), [(9.4, False), (9.6, True)])
def test_disk_space_is_summed_over_one_file_system(
    monkeypatch, tmp_path, free, enough
):
    monkeypatch.delenv(machine.DISK_VARIABLE, raising=False)
    monkeypatch.setattr(machine.tempfile, 'gettempdir', lambda: str(tmp_path))
    monkeypatch.setattr(
        shutil, 'disk_usage', lambda path: Usage(0, 0, free * 2**30)
    )
    check = (tmp_path / 'not' / 'yet', tmp_path / 'cache')
    if enough:
        machine.check_disk(*check)
        return
    with pytest.raises(SetupError, match=r'9\.4 GB free .*9\.5 GB needed'):
        machine.check_disk(*check)


def test_asked_for_disk_space_can_be_lowered(monkeypatch, tmp_path):
    monkeypatch.setenv(machine.DISK_VARIABLE, '4')
    monkeypatch.setattr(machine.tempfile, 'gettempdir', lambda: str(tmp_path))
    free = 4.1
    monkeypatch.setattr(
        shutil, 'disk_usage', lambda path: Usage(0, 0, free * 2**30)
    )
    machine.check_disk(tmp_path, tmp_path)
    free = 3.9
    with pytest.raises(SetupError, match=r'4\.0 GB needed'):
        machine.check_disk(tmp_path, tmp_path)


def test_no_compiler(monkeypatch):
    monkeypatch.setenv('CXX', '/nowhere/g++')
    with pytest.raises(SetupError, match=r'No C\+\+ compiler') as raised:
        machine.check_compiler()
    assert '/nowhere/g++: No such file' in str(raised.value)
    assert 'apt install g++' in str(raised.value)


def test_no_headers_of_python(monkeypatch, tmp_path):
    monkeypatch.delenv('CXX', raising=False)
    monkeypatch.setattr(
        sysconfig, 'get_paths', lambda: {'include': str(tmp_path)}
    )
    with pytest.raises(SetupError, match=r'without its C headers') as raised:
        machine.check_compiler()
    assert '-dev' in str(raised.value)


def test_compiler_that_fails(monkeypatch, tmp_path):
    compiler = tmp_path / 'old'
    compiler.write_text('#!/bin/sh\necho "unknown -std=c++17" >&2\nexit 1\n')
    compiler.chmod(0o755)
    monkeypatch.setenv('CXX', str(compiler))
    with pytest.raises(SetupError, match=r'(?s)does not compile.*unknown'):
        machine.check_compiler()


def test_compiler_of_this_machine(monkeypatch):
    if shutil.which('c++') is None:
        pytest.skip('no compiler here; a cached mmcv needs none')
    monkeypatch.delenv('CXX', raising=False)
    assert machine.check_compiler() is None


@pytest.mark.parametrize(
    ('asked', 'cores', 'memory', 'expected'),
    [
        ('', 2, 24.0, 2),
        ('', 16, 6.0, 4),
        ('', 4, 0.5, 1),
        ('3', 2, 24.0, 3),
        ('0', 2, 24.0, 1),
    ],
)
def test_compilers_at_once(monkeypatch, asked, cores, memory, expected):
    monkeypatch.setenv('MAX_JOBS', asked)
    monkeypatch.setattr(
        machine.os, 'sched_getaffinity', lambda pid: set(range(cores))
    )
    page = {'SC_AVPHYS_PAGES': memory * 2**30, 'SC_PAGE_SIZE': 1}
    monkeypatch.setattr(machine.os, 'sysconf', page.get)
    assert machine.count_compile_jobs() == expected
