"""Check CIFARResNet against its formulas, written out."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mmtst  # noqa: F401  (mmrazor imports only after it)
from mmtst.models.backbones import CIFARResNet
from mmtst.utils.errors import ConfigError


def randomize_norms(net):
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)


def normalize(x, weights, key):
    mean, variance, scale, shift = (
        weights[f'{key}.{part}'].view(1, -1, 1, 1)
        for part in ('running_mean', 'running_var', 'weight', 'bias')
    )
    return (x - mean) / (variance + 1e-5).sqrt() * scale + shift


def plain_block(x, weights, key, stride):
    """He et al. 2016, Eq. 1 and 2: y = F(x) + x, or F(x) + W x."""
    y = F.conv2d(x, weights[f'{key}.conv1.weight'], None, stride, 1)
    y = normalize(y, weights, f'{key}.bn1').clamp(min=0)
    y = F.conv2d(y, weights[f'{key}.conv2.weight'], None, 1, 1)
    y = normalize(y, weights, f'{key}.bn2')
    if f'{key}.downsample.0.weight' in weights:
        x = F.conv2d(x, weights[f'{key}.downsample.0.weight'], None, stride)
        x = normalize(x, weights, f'{key}.downsample.1')
    return x + y


@pytest.mark.parametrize(('depth', 'width'), [(14, 1), (8, 4)])
def test_equals_the_formulas(depth, width):
    torch.manual_seed(0)
    net = CIFARResNet(depth, width, out_indices=(0, 1, 2, 3), preact=True)
    randomize_norms(net)
    net.double()
    net.eval()
    weights = net.state_dict()
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    x = F.conv2d(images, weights['stem.0.conv.weight'], None, 1, 1)
    x = normalize(x, weights, 'stem.0.bn').clamp(min=0)
    expected = []
    for stage in range(3):
        for block in range((depth - 2) // 6):
            stride = 2 if stage > 0 and block == 0 else 1
            # ReLUs lie between the blocks.
            key = f'stages.{stage}.{2 * block}'
            before = plain_block(x, weights, key, stride)
            x = before.clamp(min=0)
        expected.append(before)
    outputs = net(images)
    torch.testing.assert_close(outputs, (*expected, x))


def test_shortcuts_are_convolutions_only_where_shapes_change():
    """The first stage of the usual width keeps the stem's 16 channels."""
    for width, places in ((1, ['1.0', '2.0']), (4, ['0.0', '1.0', '2.0'])):
        weights = CIFARResNet(20, width).state_dict()
        found = [key for key in weights if 'downsample.0.weight' in key]
        assert found == [f'stages.{p}.downsample.0.weight' for p in places]


@pytest.mark.parametrize('depth', [18, 101, 2, '20'])
def test_depths_that_do_not_exist(depth):
    with pytest.raises(ConfigError, match=r'model\.backbone\.depth') as error:
        CIFARResNet(depth)
    allowed = '6n + 2: 8, 14, 20' if type(depth) is int else 'an integer'
    assert allowed in str(error.value)


@pytest.mark.parametrize('width', [2, 0, 1.0, True, [4]])
def test_widths_that_do_not_exist(width):
    with pytest.raises(ConfigError, match=r'model\.backbone\.width') as error:
        CIFARResNet(8, width)
    allowed = '1, 4' if type(width) is int else 'an integer'
    assert f'allowed: {allowed}' in str(error.value)
