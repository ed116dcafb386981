"""Check PyramidConnector."""

import math

import pytest
import torch
from mmengine.model import ModuleDict

from mmtst.models.connectors import PyramidConnector
from mmtst.registry import MODELS


def test_each_level_has_its_own_convolution():
    connector = PyramidConnector(2, 3, num_levels=2)
    levels = [torch.randn(1, 2, 4, 4), torch.randn(1, 2, 2, 2)]
    outputs = connector(levels)
    assert [tuple(o.shape) for o in outputs] == [(1, 3, 4, 4), (1, 3, 2, 2)]
    for conv, level, output in zip(
        connector.convs, levels, outputs, strict=True
    ):
        weight = conv.weight[:, :, 0, 0]
        expected = torch.einsum('oc,bchw->bohw', weight, level)
        expected = expected + conv.bias.view(1, -1, 1, 1)
        torch.testing.assert_close(output, expected)


def test_wrong_number_of_levels():
    with pytest.raises(ValueError, match='set num_levels'):
        PyramidConnector(2, 3, num_levels=2)([torch.zeros(1, 2, 1, 1)])


@pytest.mark.parametrize(
    'cfg',
    [
        dict(type='mmtst.PyramidConnector', in_channels=64, out_channels=128),
        dict(
            type='mmtst.LevelwiseConnector',
            connector=dict(
                type='mmrazor.MGDConnector',
                student_channels=64,
                teacher_channels=128,
            ),
        ),
        dict(type='mmrazor.CRDConnector', dim_in=64, dim_out=128),
    ],
    ids=lambda cfg: cfg['type'],
)
def test_weights_of_plain_connectors_start_as_torchs(cfg):
    torch.manual_seed(0)
    connector = MODELS.build(cfg)
    ModuleDict(dict(one=connector)).init_weights()  # As a runner does.
    weights = [p for p in connector.parameters() if p.dim() > 1]
    assert weights
    for weight in weights:
        expected = 1 / math.sqrt(3 * weight[0].numel())
        assert weight.std().item() == pytest.approx(expected, rel=0.05)
