"""Check CIFARVGG against its formulas, written out."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mmtst  # noqa: F401  (mmrazor imports only after it)
from mmtst.models.backbones import CIFARVGG
from mmtst.utils.errors import ConfigError


@pytest.mark.parametrize(
    ('depth', 'counts'), [(8, [1, 1, 1, 1, 1]), (13, [2, 2, 2, 2, 2])]
)
def test_equals_the_formulas(depth, counts):
    """Convolution with bias, norm, ReLU; pooled before stages 2, 3 and 4."""
    torch.manual_seed(0)
    net = CIFARVGG(depth, out_indices=(0, 1, 2, 3, 4, 5), preact=True)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    net.double()
    net.eval()
    convs = iter([m for m in net.modules() if isinstance(m, nn.Conv2d)])
    norms = iter([m for m in net.modules() if isinstance(m, nn.BatchNorm2d)])
    x = images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    expected = []
    for stage, count in enumerate(counts):
        if stage in (1, 2, 3):
            size = x.shape[-1] // 2
            x = x.unflatten(2, (size, 2)).unflatten(4, (size, 2)).amax((3, 5))
        for _ in range(count):
            conv, norm = next(convs), next(norms)
            y = F.conv2d(x, conv.weight, conv.bias, 1, 1)
            mean = norm.running_mean.view(1, -1, 1, 1)
            deviation = (norm.running_var + 1e-5).sqrt().view(1, -1, 1, 1)
            y = (y - mean) / deviation  # Scale 1, shift 0 at the start.
            x = y.clamp(min=0)
        expected.append(y)
    assert next(convs, None) is None
    torch.testing.assert_close(net(images), (*expected, x))


@pytest.mark.parametrize('depth', [9, 12, 20, '8', 8.0, [8]])
def test_depths_that_do_not_exist(depth):
    with pytest.raises(ConfigError, match=r'model\.backbone\.depth') as error:
        CIFARVGG(depth)
    whole = type(depth) is int
    allowed = '8, 11, 13, 16, 19' if whole else 'an integer'
    assert f'allowed: {allowed}' in str(error.value)
