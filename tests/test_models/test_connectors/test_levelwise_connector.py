"""Check LevelwiseConnector with mmrazor's connectors."""

import pytest
import torch
from torch import nn

import mmtst  # noqa: F401  (mmrazor imports only after it)
from mmtst.models.connectors import LevelwiseConnector
from mmtst.utils.errors import ConfigError

NORM = dict(
    type='mmrazor.NormConnector',
    in_channels=2,
    norm_cfg=dict(type='BN', affine=False),
)
MGD = dict(type='mmrazor.MGDConnector', student_channels=2, teacher_channels=3)


def test_each_level_has_its_own_connector():
    connector = LevelwiseConnector(MGD, num_levels=2)
    first, second = (level.generation[0].weight for level in connector.levels)
    assert not torch.equal(first, second)
    levels = [torch.randn(1, 2, 4, 4), torch.randn(1, 2, 2, 2)]
    torch.manual_seed(0)
    outputs = connector(levels)
    assert [tuple(o.shape) for o in outputs] == [(1, 3, 4, 4), (1, 3, 2, 2)]
    torch.manual_seed(0)
    for level, features, output in zip(
        connector.levels, levels, outputs, strict=True
    ):
        torch.testing.assert_close(output, level(features))


def test_both_sides_may_be_normalised_by_it():
    connector = LevelwiseConnector(NORM, num_levels=1)
    features = 5 + 3 * torch.randn(4, 2, 8, 8)
    (output,) = connector([features])
    moments = output.mean((0, 2, 3)), output.var((0, 2, 3), unbiased=False)
    torch.testing.assert_close(moments[0], torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(moments[1], torch.ones(2), atol=1e-4, rtol=0)
    assert not list(connector.parameters())


def test_masks_hide_the_share_that_mgd_asks_for():
    connector = LevelwiseConnector(dict(MGD, lambda_mgd=0.65), num_levels=1)
    level = connector.levels[0]
    level.align, level.generation = None, nn.Identity()
    (output,) = connector([torch.ones(2, 3, 100, 100)])
    assert torch.equal(output[:, 0], output[:, 1])  # One mask, all channels.
    assert float((output == 0).float().mean()) == pytest.approx(0.65, abs=0.02)


def test_inputs_are_not_edited_whatever_their_layout():
    connector = LevelwiseConnector(MGD, num_levels=1)
    features = torch.randn(2, 2, 4, 4)
    before = features.clone()
    torch.manual_seed(0)
    (expected,) = connector([features])
    assert torch.equal(features, before)
    torch.manual_seed(0)
    last = features.contiguous(memory_format=torch.channels_last)
    (output,) = connector([last])
    torch.testing.assert_close(output, expected)
    assert torch.equal(last, before)


def test_coarser_levels_are_left_out():
    connector = LevelwiseConnector(NORM, num_levels=1)
    levels = [torch.randn(2, 2, 4, 4), torch.randn(2, 2, 2, 2)]
    assert len(connector(levels)) == 1


def test_too_few_levels():
    with pytest.raises(ValueError, match='set num_levels'):
        LevelwiseConnector(NORM, num_levels=2)([torch.zeros(2, 2, 1, 1)])


def test_a_count_is_wanted():
    with pytest.raises(ConfigError, match='num_levels'):
        LevelwiseConnector(NORM, num_levels=0)
