"""Check that train() and eval() of all our modules return the module."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable

import pytest
from torch import nn

import mmtst
from mmtst.models.backbones import (
    CIFARVGG,
    CIFARMobileNetV2,
    CIFARResNet,
    CIFARShuffleNetV1,
    CIFARShuffleNetV2,
    CIFARWideResNet,
    MobileNetV1,
)


def modules_of_the_package() -> dict[str, type[nn.Module]]:
    found = {}
    for info in pkgutil.walk_packages(mmtst.__path__, 'mmtst.'):
        members = vars(importlib.import_module(info.name)).values()
        for member in members:
            if (
                isinstance(member, type)
                and issubclass(member, nn.Module)
                and member.__module__.startswith('mmtst.')
            ):
                found[f'{member.__module__}.{member.__name__}'] = member
    return found


def test_modes_are_set_by_torch_or_by_ours() -> None:
    """Those of mmpretrain's backbones and of mmrazor return None."""
    classes = modules_of_the_package()
    assert len(classes) > 30
    foreign = {}
    for name, cls in classes.items():
        for method in ('train', 'eval'):
            owner = next(c for c in cls.__mro__ if method in vars(c))
            if not owner.__module__.startswith(('torch.', 'mmtst.')):
                foreign[name] = f'{owner.__module__}.{owner.__name__}.{method}'
    assert not foreign


BACKBONES = (
    lambda: CIFARResNet(8),
    lambda: CIFARWideResNet(10, 1),
    lambda: CIFARVGG(8),
    lambda: CIFARShuffleNetV1(),
    lambda: CIFARShuffleNetV2(),
    lambda: CIFARMobileNetV2(),
    lambda: MobileNetV1(width=0.25, norm_eval=True),
)


@pytest.mark.parametrize('build', BACKBONES)
def test_backbones_return_themselves(build: Callable[[], nn.Module]) -> None:
    backbone = build()
    assert backbone.eval() is backbone
    assert not any(module.training for module in backbone.modules())
    assert backbone.train() is backbone and backbone.training
