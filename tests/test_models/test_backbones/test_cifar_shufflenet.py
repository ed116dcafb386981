"""Check the ShuffleNets' blocks against their formulas, written out."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mmtst  # noqa: F401  (mmrazor imports only after it)
from mmtst.models.backbones import CIFARShuffleNetV1, CIFARShuffleNetV2
from mmtst.models.backbones.cifar_shufflenet import ShuffleUnit


def randomize_norms(net):
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)


def normalize(x, norm):
    mean, variance, scale, shift = (
        values.view(1, -1, 1, 1)
        for values in (
            norm.running_mean,
            norm.running_var,
            norm.weight,
            norm.bias,
        )
    )
    return (x - mean) / (variance + 1e-5).sqrt() * scale + shift


def shuffle(x, groups):
    """Channel j of group i goes to place j * groups + i."""
    count = x.shape[1] // groups
    order = [i * count + j for j in range(count) for i in range(groups)]
    return x[:, order]


@pytest.mark.parametrize(
    ('inputs', 'outputs', 'groups', 'middle'),
    [(24, 240, 1, 54), (240, 480, 3, 60), (240, 240, 3, 60)],
    ids=['first', 'halving', 'plain'],
)
def test_unit_of_version_1(inputs, outputs, groups, middle):
    """A quarter of 240 - 24, of 480 - 240 and of 240 in the middle."""
    torch.manual_seed(0)
    unit = ShuffleUnit(inputs, outputs, dict(type='BN'))
    randomize_norms(unit)
    unit.double()
    unit.eval()
    one, three, last = unit.compress, unit.depthwise, unit.expand
    x = torch.randn(2, inputs, 8, 8, dtype=torch.float64)
    stride = 1 if inputs == outputs else 2
    y = F.conv2d(x, one.conv.weight, groups=groups)
    assert y.shape[1] == middle
    y = shuffle(normalize(y, one.bn).clamp(min=0), groups)
    y = F.conv2d(y, three.conv.weight, None, stride, 1, groups=middle)
    y = normalize(y, three.bn).clamp(min=0)
    y = normalize(F.conv2d(y, last.conv.weight, groups=3), last.bn)
    if stride == 1:
        expected = y + x
    else:
        padded = F.pad(x, (1, 1, 1, 1))
        windows = padded.unfold(2, 3, 2).unfold(3, 3, 2)
        expected = torch.cat([y, windows.mean((-2, -1))], dim=1)
    torch.testing.assert_close(unit(x), expected)


def plain_version_2(x, block):
    """Ma et al. 2018, Fig. 3(c) and (d); channels shuffled in two groups."""

    def run(y, layers):
        for layer, relu in layers:
            conv = layer.conv
            padding = 1 if conv.kernel_size == (3, 3) else 0
            y = F.conv2d(
                y, conv.weight, None, conv.stride, padding, groups=conv.groups
            )
            y = normalize(y, layer.bn)
            y = y.clamp(min=0) if relu else y
        return y

    right = zip(block.branch2, (True, False, True), strict=True)
    if block.stride == 2:
        left = zip(block.branch1, (False, True), strict=True)
        halves = run(x, left), run(x, right)
    else:
        half = x.shape[1] // 2
        halves = x[:, :half], run(x[:, half:], right)
    return shuffle(torch.cat(halves, dim=1), 2)


def test_stages_of_version_2_are_the_papers():
    """The ReLU that a stage has at its end is that of its last block."""
    torch.manual_seed(0)
    net = CIFARShuffleNetV2(out_indices=(0, 1, 2, 3))
    randomize_norms(net)
    net.double()
    net.eval()
    x = images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    stem, last = net.stem[0], net.last[0]
    x = F.conv2d(x, stem.conv.weight)
    x = normalize(x, stem.bn).clamp(min=0)
    expected = []
    for stage in net.stages:
        for block in stage:
            x = plain_version_2(x, block)
        expected.append(x)
    x = normalize(F.conv2d(x, last.conv.weight), last.bn).clamp(min=0)
    torch.testing.assert_close(net(images), (*expected, x))


def test_numbers_of_blocks():
    units = [
        sum(isinstance(module, ShuffleUnit) for module in stage)
        for stage in CIFARShuffleNetV1().stages
    ]
    assert units == [4, 8, 4]
    assert [len(stage) for stage in CIFARShuffleNetV2().stages] == [4, 8, 4]


def test_stems_keep_the_size():
    for kind in (CIFARShuffleNetV1, CIFARShuffleNetV2):
        stem = kind().stem
        assert stem(torch.zeros(2, 3, 32, 32)).shape == (2, 24, 32, 32)
        assert sum(p.numel() for p in stem.parameters()) == 3 * 24 + 2 * 24
