"""Check CIFARWideResNet against its formulas and mmrazor's network."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mmtst  # noqa: F401  (mmrazor imports only after it)
from mmtst.models.backbones import CIFARWideResNet
from mmtst.registry import MODELS
from mmtst.utils.errors import ConfigError


def build_net(depth=16, width=1, **options):
    torch.manual_seed(0)
    net = CIFARWideResNet(depth, width, out_indices=(0, 1, 2, 3), **options)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    net.double()
    net.eval()
    return net


def name_as_mmrazor(weights):
    """Rename to mmrazor's keys, norms that close a stage to its openers."""
    moved = {'norms.0': 'layer2.0.bn1', 'norms.1': 'layer3.0.bn1'}
    moved |= {'norms.2': 'bn1', 'stem.0': 'conv1'}
    moved |= {f'stages.{i}': f'layer{i + 1}' for i in range(3)}
    renamed = {}
    for key, value in weights.items():
        (old,) = (old for old in moved if key.startswith(f'{old}.'))
        renamed[moved[old] + key.removeprefix(old)] = value
    return renamed


def normalize(x, weights, key):
    mean, variance, scale, shift = (
        weights[f'{key}.{part}'].view(1, -1, 1, 1)
        for part in ('running_mean', 'running_var', 'weight', 'bias')
    )
    return (x - mean) / (variance + 1e-5).sqrt() * scale + shift


def plain_block(x, weights, key, stride):
    """Norm, ReLU, 3x3, norm, ReLU, 3x3, added to x or to W relu(norm(x)).

    Zagoruyko and Komodakis 2016, Fig. 1(c).
    """
    opened = normalize(x, weights, f'{key}.bn1').clamp(min=0)
    y = F.conv2d(opened, weights[f'{key}.conv1.weight'], None, stride, 1)
    y = normalize(y, weights, f'{key}.bn2').clamp(min=0)
    y = F.conv2d(y, weights[f'{key}.conv2.weight'], None, 1, 1)
    if f'{key}.downsample.weight' in weights:
        x = F.conv2d(opened, weights[f'{key}.downsample.weight'], None, stride)
    return x + y


@pytest.mark.parametrize('width', [1, 2])
def test_equals_the_formulas(width):
    """Width 1 keeps the stem's 16 channels: its first shortcut is plain."""
    net = build_net(width=width)
    weights = name_as_mmrazor(net.state_dict())
    assert ('layer1.0.downsample.weight' in weights) == (width == 2)
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    x = F.conv2d(images, weights['conv1.weight'], None, 1, 1)
    sums, normalized = [], []
    for stage in (1, 2, 3):
        for block in range(2):
            stride = 2 if stage > 1 and block == 0 else 1
            x = plain_block(x, weights, f'layer{stage}.{block}', stride)
        sums.append(x)
        norm = 'bn1' if stage == 3 else f'layer{stage + 1}.0.bn1'
        normalized.append(normalize(x, weights, norm))
    last = normalized[-1].clamp(min=0)
    torch.testing.assert_close(net(images), (*sums, last))
    net.preact = True
    torch.testing.assert_close(net(images), (*normalized, last))


def test_is_mmrazors_network():
    net = build_net(width=2)
    theirs = MODELS.build(
        dict(type='mmrazor.WideResNet', depth=16, widen_factor=2)
    ).double()
    theirs.load_state_dict(name_as_mmrazor(net.state_dict()))
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    for model in (net, theirs):
        model.train()
    (expected,) = theirs(images)
    torch.testing.assert_close(net(images)[-1], expected)
    statistics = name_as_mmrazor(net.state_dict())
    for key, value in theirs.state_dict().items():
        torch.testing.assert_close(statistics[key], value, msg=key)


def count_parameters(depth, width):
    """Count what the paper's table 1 lists, with a head of 100 classes."""
    total, inputs = 9 * 3 * 16, 16
    for outputs in (16 * width, 32 * width, 64 * width):
        for _ in range((depth - 4) // 6):
            total += 2 * inputs + 9 * inputs * outputs
            total += 2 * outputs + 9 * outputs * outputs
            total += inputs * outputs if inputs != outputs else 0
            inputs = outputs
    return total + 2 * inputs + 100 * inputs + 100


@pytest.mark.parametrize(
    ('depth', 'width', 'expected'),
    [
        (16, 2, 703_284),
        (28, 10, 36_536_884),
        (40, 1, 569_780),
        (40, 2, 2_255_156),
        (40, 4, 8_972_340),
    ],
)
def test_counts_follow_the_papers_table(depth, width, expected):
    assert count_parameters(depth, width) == expected
    with torch.device('meta'):
        net = CIFARWideResNet(depth, width)
    head = 100 * net.out_channels[-1] + 100
    assert sum(p.numel() for p in net.parameters()) + head == expected


@pytest.mark.parametrize('depth', [18, 20, 4, 28.0])
def test_depths_that_do_not_exist(depth):
    with pytest.raises(ConfigError, match=r'model\.backbone\.depth') as error:
        CIFARWideResNet(depth, 2)
    whole = type(depth) is int
    allowed = '6n + 4: 10, 16, 22, 28, 34, 40' if whole else 'an integer'
    assert allowed in str(error.value)


@pytest.mark.parametrize('width', [0, 1.5, '2', True])
def test_widths_that_do_not_exist(width):
    with pytest.raises(ConfigError, match=r'model\.backbone\.width'):
        CIFARWideResNet(16, width)


def test_norms_that_the_blocks_do_not_know():
    norm = dict(type='GN', num_groups=4)
    with pytest.raises(ConfigError, match=r'model\.backbone\.norm_cfg'):
        CIFARWideResNet(16, 1, norm_cfg=norm)
