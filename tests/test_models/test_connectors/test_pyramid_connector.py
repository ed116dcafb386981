"""Check PyramidConnector."""

import pytest
import torch

from mmtst.models.connectors import PyramidConnector


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
