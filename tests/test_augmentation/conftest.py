"""Share what the tests of the augmentation are tried on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from mmengine.model import ImgDataPreprocessor

from mmtst.augmentation.prior_images import synthetic_images


@pytest.fixture
def preprocessor() -> ImgDataPreprocessor:
    """Return the normalization of most mm configs."""
    return ImgDataPreprocessor(
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    )


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope='session')
def images() -> torch.Tensor:
    """Return synthetic images, (40, 3, 16, 16), raw."""
    return synthetic_images(40, 16, 7)


@pytest.fixture(scope='session')
def cifar_test() -> Path:
    """Return the folder of CIFAR-100's test images, as mosaics."""
    beside = Path(__file__).parents[3] / 'shared' / 'data'
    root = Path(os.environ.get('MMTST_DATA', beside))
    folder = root / 'cifar100' / 'test'
    if not folder.is_dir():
        pytest.skip(
            f'needs the CIFAR-100 test images in {folder}; set MMTST_DATA to '
            'the folder above cifar100'
        )
    return folder
