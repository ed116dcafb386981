"""Imports work, stay light, and repairs say what they stand in for."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from mmtst.utils import compat

FAMILIES = [
    'mmrazor.models',
    'mmrazor.engine',
    'mmrazor.datasets',
    'mmrazor.implementations',
    'mmdet.models',
    'mmseg.models',
    'mmpretrain.models',
]


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, '-c', code],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_import_of_the_package_is_light():
    done = run_python(
        'import sys, mmtst\n'
        'heavy = {"torch", "numpy", "mmengine", "mmcv", "mmrazor", "cv2"}\n'
        'print(sorted(heavy & set(sys.modules)))'
    )
    assert done.stdout.strip() == '[]', done.stderr


@pytest.mark.slow
def test_every_family_imports_after_the_package():
    imports = '\n'.join(f'import {name}' for name in FAMILIES)
    done = run_python(f'import mmtst\n{imports}\nprint("imported")')
    assert done.stdout.strip().endswith('imported'), done.stderr


def test_stand_in_is_still_needed():
    """Fails when a release of mmrazor makes the stand-in superfluous."""
    done = run_python(f'import {compat.BACKEND_CONFIG}')
    assert done.returncode != 0
    assert 'torch>=1.13' in done.stderr


def test_stand_in_has_the_names_of_the_original():
    from mmengine.utils import get_installed_path

    path = f'{get_installed_path("mmrazor")}/structures/quantization'
    with open(f'{path}/backend_config/__init__.py') as file:
        source = file.read()
    stand_in = compat._build_backend_config()
    for name in stand_in.__all__:
        assert f"'{name}'" in source
    assert source.count("',\n") == len(stand_in.__all__)


def test_stand_in_is_importable_by_star_and_fails_when_used():
    compat.apply_import_fixes()
    from mmrazor.structures.quantization import (
        BackendConfigs,
        get_native_backend_config,
    )

    with pytest.raises(RuntimeError, match=r'torch 1\.13.*torch 2'):
        get_native_backend_config()
    with pytest.raises(RuntimeError, match=r"BackendConfigs\['tensorrt'\]"):
        BackendConfigs['tensorrt']


def test_fixes_are_idempotent():
    import warnings

    compat.apply_import_fixes()
    before = sys.modules[compat.BACKEND_CONFIG]
    filters = list(warnings.filters)
    compat.apply_import_fixes()
    assert sys.modules[compat.BACKEND_CONFIG] is before
    assert list(warnings.filters) == filters


@pytest.mark.parametrize(
    ('torch_release', 'mmrazor_release', 'expected'),
    [
        ((2, 11, 0), (1, 0, 0), True),
        ((2, 0), (1, 0, 0), True),
        ((1, 13, 1), (1, 0, 0), False),
        ((2, 11, 0), (1, 0, 1), False),
        ((2, 11, 0), None, False),
        (None, (1, 0, 0), False),
    ],
)
def test_stand_in_comes_only_where_the_original_cannot_work(
    monkeypatch, torch_release, mmrazor_release, expected
):
    releases = {'torch': torch_release, 'mmrazor': mmrazor_release}
    monkeypatch.setattr(compat, 'installed_release', releases.get)
    monkeypatch.delitem(sys.modules, compat.BACKEND_CONFIG, raising=False)
    compat.apply_import_fixes()
    assert (compat.BACKEND_CONFIG in sys.modules) is expected


def test_a_working_original_is_left_alone(monkeypatch):
    original = type(sys)('original')
    monkeypatch.setitem(sys.modules, compat.BACKEND_CONFIG, original)
    compat.apply_import_fixes()
    assert sys.modules[compat.BACKEND_CONFIG] is original


@pytest.mark.parametrize(
    ('version', 'expected'),
    [
        ('2.11.0+cu130', (2, 11, 0)),
        ('1.0.0rc1', (1, 0, 0)),
        ('2.2.0a0+git1234', (2, 2, 0)),
        ('unknown', None),
    ],
)
def test_installed_release_reads_leading_numbers(
    monkeypatch, version, expected
):
    monkeypatch.setattr(compat.metadata, 'version', lambda name: version)
    assert compat.installed_release('anything') == expected


def test_installed_release_of_a_missing_distribution():
    assert compat.installed_release('no-such-distribution') is None


def test_disable_inplace_reaches_nested_modules_and_counts_them():
    model = nn.Sequential(
        nn.Conv2d(1, 2, 1),
        nn.ReLU(inplace=True),
        nn.ModuleDict({'deep': nn.Sequential(nn.Dropout(inplace=True))}),
        nn.ReLU(),
    )
    assert compat.disable_inplace(model) == 2
    assert not any(getattr(m, 'inplace', False) for m in model.modules())
    assert compat.disable_inplace(model) == 0
    assert compat.disable_inplace(nn.ReLU(inplace=True)) == 1


def test_a_recorded_feature_survives_the_activation_behind_it():
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(inplace=True))
    images = torch.linspace(-40, 40, 9).reshape(1, 1, 3, 3)
    expected = model[0](images).detach().clone()
    assert (expected < 0).any()
    compat.disable_inplace(model)
    kept = []
    model[0].register_forward_hook(lambda *call: kept.append(call[-1]))
    model(images)
    assert torch.equal(kept[0], expected)
