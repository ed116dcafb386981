"""A wheel is found for what it was compiled for, and for nothing else."""

import json
import subprocess
from pathlib import Path

import pytest

from scripts.bootstrap import mmcv_wheel
from scripts.bootstrap.errors import SetupError
from scripts.bootstrap.pins import read_pins

TORCH = read_pins('torch.txt')['torch']
MMCV = read_pins('mmcv.txt')['mmcv']


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv('MMTST_WHEEL_CACHE', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


def make_target(torch=TORCH, cuda='cpu'):
    return mmcv_wheel.Target(Path('python'), torch, cuda, ())


def keep(target, version=MMCV):
    folder = mmcv_wheel.find_cache() / target.key
    folder.mkdir(parents=True)
    wheel = folder / f'mmcv-{version}-cp3-cp3-linux_x86_64.whl'
    wheel.touch()
    return wheel


def test_cache_lies_where_the_environment_says(monkeypatch):
    monkeypatch.delenv('MMTST_WHEEL_CACHE', raising=False)
    monkeypatch.setenv('XDG_CACHE_HOME', '/some/cache')
    assert mmcv_wheel.find_cache() == Path('/some/cache/mmtst/wheels')
    monkeypatch.delenv('XDG_CACHE_HOME')
    home = Path.home() / '.cache' / 'mmtst' / 'wheels'
    assert mmcv_wheel.find_cache() == home


def test_finds_the_wheel_it_kept(cache):
    target = make_target()
    assert mmcv_wheel.find_wheel(target) is None
    assert not mmcv_wheel.may_be_cached()
    wheel = keep(target)
    assert mmcv_wheel.find_wheel(target) == wheel
    assert mmcv_wheel.may_be_cached()


@pytest.mark.parametrize(
    'other',
    [
        make_target(torch=f'{TORCH}+cpu'),
        make_target(torch='2.1.0'),
        make_target(cuda='cuda13.0-9.0'),
    ],
)
def test_wheel_for_something_else_is_not_taken(cache, other):
    keep(other)
    assert mmcv_wheel.find_wheel(make_target()) is None


def test_wheel_of_another_python_is_not_taken(cache, monkeypatch):
    keep(make_target())
    monkeypatch.setattr(mmcv_wheel.sys, 'version_info', (3, 99))
    assert mmcv_wheel.find_wheel(make_target()) is None
    assert not mmcv_wheel.may_be_cached()


def test_wheel_of_another_mmcv_is_not_taken(cache):
    keep(make_target(), version='2.0.0')
    assert mmcv_wheel.find_wheel(make_target()) is None


@pytest.fixture
def torch_is(monkeypatch):
    """Pretend what the environment's torch answers."""

    def answer(**seen):
        known = {
            'torch': f'{TORCH}+cu130',
            'cuda': '13.0',
            'gpu': False,
            'capability': None,
            'nvcc': True,
            'include': ['/include'],
        }
        text = json.dumps({**known, **seen})
        done = subprocess.CompletedProcess([], 0, f'warning\n{text}\n', '')
        monkeypatch.setattr(mmcv_wheel, 'ask', lambda *command: done)

    for name in ('FORCE_CUDA', 'TORCH_CUDA_ARCH_LIST'):
        monkeypatch.delenv(name, raising=False)
    return answer


GPU = {'gpu': True, 'capability': [9, 0]}


@pytest.mark.parametrize(
    ('seen', 'force', 'before', 'expected'),
    [
        ({}, '', '', 'cpu'),
        (GPU, '', '', 'cuda13.0-9.0'),
        ({**GPU, 'nvcc': False}, '', '', 'cpu'),
        ({**GPU, 'cuda': None}, '', '', 'cpu'),
        (GPU, '0', '', 'cpu'),
        ({}, '1', '', 'cuda13.0-all'),
        ({}, '', 'cuda13.0-all', 'cuda13.0-all'),
        ({}, '0', 'cuda13.0-all', 'cpu'),
    ],
)
def test_cuda_ops(torch_is, monkeypatch, seen, force, before, expected):
    torch_is(**seen)
    monkeypatch.setenv('FORCE_CUDA', force)
    assert mmcv_wheel.choose_target(Path(), before).cuda == expected


def test_architectures_that_were_asked_for_name_the_wheel(
    torch_is, monkeypatch
):
    torch_is(**GPU)
    monkeypatch.setenv('TORCH_CUDA_ARCH_LIST', '8.0;9.0')
    target = mmcv_wheel.choose_target(Path(), '')
    assert target.cuda == 'cuda13.0-8.0_9.0'


@pytest.mark.parametrize('seen', [{'nvcc': False}, {'cuda': None}])
def test_cuda_asked_for_where_there_is_none(torch_is, monkeypatch, seen):
    torch_is(**seen)
    monkeypatch.setenv('FORCE_CUDA', '1')
    with pytest.raises(SetupError, match='needs nvcc'):
        mmcv_wheel.choose_target(Path(), '')


def test_pair_that_does_not_fit(monkeypatch):
    def answer(python, *command):
        if 'pip' in command:
            text = 'numpy==2\ntorch==2.11.0+cpu\ntorchvision==0.26.0\n'
            return subprocess.CompletedProcess([], 0, text, '')
        error = 'Traceback\nRuntimeError: operator torchvision::nms'
        return subprocess.CompletedProcess([], 1, '', error)

    monkeypatch.setattr(mmcv_wheel, 'ask', answer)
    with pytest.raises(SetupError) as raised:
        mmcv_wheel.choose_target(Path(), '')
    message = str(raised.value)
    assert 'torch and torchvision do not fit' in message
    assert 'torch==2.11.0+cpu' in message
    assert 'operator torchvision::nms' in message


def test_build_moves_its_wheel_into_the_cache(cache, tmp_path):
    target = make_target()
    with mmcv_wheel.Build(target, tmp_path / 'log') as build:
        folder = build._folder
        (folder / f'mmcv-{MMCV}-cp3-cp3-any.whl').write_text('wheel')
        kept = build.keep()
    assert not folder.exists()
    assert kept.read_text() == 'wheel'
    assert mmcv_wheel.find_wheel(target) == kept
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]
