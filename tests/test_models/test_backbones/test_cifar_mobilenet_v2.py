"""Check CIFARMobileNetV2 against the paper's table, row by row."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mmtst  # noqa: F401  (mmrazor imports only after it)
from mmtst.models.backbones import CIFARMobileNetV2
from mmtst.utils.errors import ConfigError

# Sandler et al. 2018, table 2: expansion, channels, blocks, stride; the
# second stride is 1 on CIFAR.
ROWS = [
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
]


def run(x, layer, *, stride=1, groups=1, relu=True):
    conv, norm = layer.conv, layer.bn
    padding = conv.weight.shape[-1] // 2
    y = F.conv2d(x, conv.weight, None, stride, padding, groups=groups)
    mean, variance, scale, shift = (
        values.view(1, -1, 1, 1)
        for values in (
            norm.running_mean,
            norm.running_var,
            norm.weight,
            norm.bias,
        )
    )
    y = (y - mean) / (variance + 1e-5).sqrt() * scale + shift
    return y.clamp(min=0) if relu else y


@pytest.mark.parametrize('width', [0.5, 1.0])
def test_equals_the_papers_table(width):
    torch.manual_seed(0)
    net = CIFARMobileNetV2(width, out_indices=(0, 1, 2, 3, 4))
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 3)
            nn.init.uniform_(module.bias, -0.5, 3)
    net.double()
    net.eval()
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    blocks = iter([block for stage in net.stages for block in stage])
    x = run(images, net.stem[0], stride=2)
    rows, largest = [], 0.0
    for expansion, channels, count, stride in ROWS:
        for i in range(count):
            expand, depthwise, project = next(blocks).conv
            y = run(x, expand)
            assert y.shape[1] == expansion * x.shape[1]
            step = stride if i == 0 else 1
            y = run(y, depthwise, stride=step, groups=y.shape[1])
            largest = max(largest, float(y.detach().max()))
            y = run(y, project, relu=False)
            x = y + x if step == 1 and y.shape == x.shape else y
        assert x.shape[1] == int(channels * width)
        rows.append(x)
    assert next(blocks, None) is None
    assert largest > 6  # So that ReLU6 would show.
    last = run(x, net.last[0])
    expected = rows[1], rows[2], rows[4], rows[6], last
    torch.testing.assert_close(net(images), expected)


def test_the_last_layer_grows_but_does_not_shrink():
    for width, channels in ((0.5, 1280), (1, 1280), (1.4, 1792)):
        with torch.device('meta'):
            net = CIFARMobileNetV2(width)
        assert net.out_channels == (channels,)


@pytest.mark.parametrize('width', [0, -1, 0.06, 'half', None])
def test_widths_without_channels(width):
    with pytest.raises(ConfigError, match=r'model\.backbone\.width'):
        CIFARMobileNetV2(width)
