"""Check how HintConnector starts, and that it is mmrazor's otherwise."""

from __future__ import annotations

import math
from pathlib import Path

import mmtst  # noqa: F401  isort: skip
import pytest
import torch
from mmengine.config import Config
from mmengine.model import ModuleDict
from mmrazor.models.architectures.connectors import ConvModuleConnector

from mmtst.models.connectors import HintConnector
from mmtst.registry import MODELS

CONFIGS = sorted(
    (Path(__file__).parents[3] / 'configs' / 'fitnet').rglob('*.py')
)


def built(cfg: dict[str, object]) -> HintConnector:
    """Build as a distiller does, and initialize as a runner does."""
    torch.manual_seed(0)
    connectors = ModuleDict(dict(stage=MODELS.build(cfg)))
    connectors.init_weights()
    return connectors['stage']


@pytest.mark.parametrize('path', CONFIGS, ids=lambda p: p.stem)
def test_weights_of_the_configs_start_as_torchs(path: Path) -> None:
    cfg = Config.fromfile(path).model.distiller.connectors.stage
    connector = built(cfg.to_dict())
    weight = connector.conv_module.conv.weight
    # Of a transposed convolution too: the second dimension and the cells.
    fan_in = weight[0].numel()
    expected = 1 / math.sqrt(3 * fan_in)
    assert weight.std().item() == pytest.approx(expected, rel=0.05)
    assert weight.abs().max() <= 1 / math.sqrt(fan_in)
    norm = connector.conv_module.norm
    assert bool((norm.weight == 1).all()) and bool((norm.bias == 0).all())


def test_there_are_configs() -> None:
    assert len(CONFIGS) == 9


def test_another_start_can_be_chosen() -> None:
    init = dict(type='Constant', layer='Conv2d', val=0.25)
    connector = built(
        dict(
            type='mmtst.HintConnector',
            in_channel=4,
            out_channel=6,
            init_cfg=init,
        )
    )
    assert bool((connector.conv_module.conv.weight == 0.25).all())


def test_it_computes_what_mmrazors_does() -> None:
    options = dict(kernel_size=3, stride=2, padding=1)
    options['norm_cfg'] = dict(type='BN')
    mine = HintConnector(4, 6, **options)
    other = ConvModuleConnector(4, 6, **options)
    other.load_state_dict(mine.state_dict())
    features = torch.randn(2, 4, 8, 8)
    torch.testing.assert_close(mine(features), other(features))
