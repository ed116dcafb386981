"""Imports work, stay light, and repairs say what they stand in for."""

import copy
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


def seg_maps(channels=3):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, channels, 4, 5, generator=generator)
    labels = torch.randint(max(channels, 2), (2, 4, 5), generator=generator)
    return logits, labels


def seg_losses():
    from mmseg.models.losses import CrossEntropyLoss, LovaszLoss

    weights = [1.0, 2.0, 5.0]
    return [
        CrossEntropyLoss(class_weight=weights),
        CrossEntropyLoss(class_weight=weights, avg_non_ignore=True),
        CrossEntropyLoss(class_weight=weights, reduction='sum'),
        CrossEntropyLoss(use_sigmoid=True),
        LovaszLoss(per_image=True, class_weight=weights),
        LovaszLoss(reduction='none', classes='all'),
        LovaszLoss(reduction='none', classes=[0, 2]),
    ]


SEG = pytest.mark.filterwarnings('ignore:Default ``avg_non_ignore``')


@SEG
@pytest.mark.parametrize('index', range(7))
def test_mended_losses_are_mmsegs_where_nothing_is_ignored(index):
    loss = seg_losses()[index]
    logits, labels = seg_maps()
    for override in (None, 'none'):
        own = loss(logits, labels, reduction_override=override)
        better = copy.deepcopy(loss)
        assert compat.mend_segmentation_losses(better) == 1
        assert compat.mend_segmentation_losses(better) == 0
        mended = better(logits, labels, reduction_override=override)
        assert torch.equal(own, mended)


@SEG
@pytest.mark.parametrize('index', [0, 1])
def test_class_weights_stand_pixels_to_be_ignored(index):
    loss = seg_losses()[index]
    logits, labels = seg_maps()
    labels[0, :2] = 255
    with pytest.raises(IndexError):  # or the repair is superfluous
        loss(logits, labels, ignore_index=255)
    compat.mend_segmentation_losses(nn.ModuleList([loss]))
    usual = nn.functional.cross_entropy(
        logits, labels, torch.tensor([1.0, 2.0, 5.0]), ignore_index=255
    )
    assert torch.allclose(loss(logits, labels, ignore_index=255), usual)


@SEG
def test_class_weights_of_channels_lie_along_channels():
    from mmseg.models.losses import CrossEntropyLoss

    loss = CrossEntropyLoss(use_sigmoid=True, class_weight=[1.0, 2.0, 5.0])
    logits, labels = seg_maps()
    with pytest.raises(RuntimeError):
        loss(logits, labels)
    compat.mend_segmentation_losses(loss)
    rows = logits.movedim(1, -1).reshape(-1, 3)
    assert torch.allclose(loss(logits, labels), loss(rows, labels.flatten()))


@SEG
@pytest.mark.parametrize('index', range(7))
def test_nothing_labelled_is_a_zero_with_a_graph(index):
    loss = seg_losses()[index]
    compat.mend_segmentation_losses(loss)
    sizes = (1, 3) if index == 3 else (3,)
    for channels in sizes:
        logits, labels = seg_maps(channels)
        logits.requires_grad_()
        labels[:] = 255
        value = loss(logits, labels, ignore_index=255).mean()
        assert value.item() == 0.0
        (slope,) = torch.autograd.grad(value, logits)
        assert not slope.any()
        by_pixel = loss(
            logits, labels, ignore_index=255, reduction_override='none'
        )
        assert not by_pixel.any()


@SEG
def test_one_channel_without_labels_fails_in_mmseg():
    from mmseg.models.losses import CrossEntropyLoss, LovaszLoss

    logits, labels = seg_maps(1)
    labels[:] = 255
    with pytest.raises(RuntimeError):
        CrossEntropyLoss(use_sigmoid=True)(logits, labels, ignore_index=255)
    logits, _ = seg_maps()
    empty = LovaszLoss(reduction='none')(logits, labels)
    assert empty.mean().isnan()
    labels[0] = 1
    with pytest.raises((RuntimeError, IndexError)):
        LovaszLoss(per_image=True)(logits, labels)


@SEG
def test_lovasz_stands_one_pixel_and_images_without():
    loss = seg_losses()[4]
    compat.mend_segmentation_losses(loss)
    logits, labels = seg_maps()
    labels[:] = 255
    labels[0, 1, 2] = 1
    alone = loss(logits[:1], labels[:1]).item()
    assert alone > 0
    assert loss(logits, labels).item() == pytest.approx(alone / 2)


def test_other_criteria_are_left_alone():
    from mmdet.models.losses import CrossEntropyLoss

    assert compat.mend_segmentation_losses(CrossEntropyLoss()) == 0
    assert compat.mend_segmentation_losses(nn.Linear(2, 2)) == 0
