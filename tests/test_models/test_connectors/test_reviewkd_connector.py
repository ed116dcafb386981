"""Check ReviewKDConnector: shapes, the fusion by hand, who learns."""

import math

import pytest
import torch
from mmengine.model import ModuleDict

from mmtst.models.connectors import ReviewKDConnector
from mmtst.utils.errors import ConfigError


def stages(channels, first=16, batch=2):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(batch, c, first >> i, first >> i, generator=generator)
        for i, c in enumerate(channels)
    ]


@pytest.mark.parametrize('number', [3, 4])
def test_outputs_have_the_teachers_channels(number):
    mine, theirs = [4, 6, 8, 10][:number], [8, 12, 16, 20][:number]
    connector = ReviewKDConnector([*mine, mine[-1]], [*theirs, theirs[-1]])
    outputs = connector(tuple(stages(mine)))
    assert isinstance(outputs, tuple)
    sizes = [16 >> i for i in range(number)] + [1]
    assert [tuple(o.shape) for o in outputs] == [
        (2, c, s, s) for c, s in zip([*theirs, theirs[-1]], sizes, strict=True)
    ]


def test_without_the_pooled_level():
    connector = ReviewKDConnector([4, 6], [3, 5], pooled=False)
    outputs = connector(stages([4, 6]))
    assert [tuple(o.shape) for o in outputs] == [(2, 3, 16, 16), (2, 5, 8, 8)]


def test_the_pooled_level_is_the_average_of_the_last_stage():
    # Stages between the levels and the last are left out.
    features = stages([4, 6, 8])
    connector = ReviewKDConnector([4, 8], [3, 5]).eval()
    outputs = connector(features)
    assert [tuple(o.shape) for o in outputs] == [(2, 3, 16, 16), (2, 5, 1, 1)]
    pooled = features[-1].mean((2, 3), keepdim=True)
    expected = connector.project[1](connector.reduce[1](pooled))
    torch.testing.assert_close(outputs[1], expected)


def test_fusion_by_hand():
    connector = ReviewKDConnector([1, 1], [1, 1], pooled=False).eval()
    for block in [*connector.reduce, *connector.project]:
        torch.nn.init.zeros_(block.conv.weight)
        middle = block.conv.weight.shape[-1] // 2
        block.conv.weight.data[0, 0, middle, middle] = 1.0
        # Identity: running mean 0, variance 1.
        block.bn.running_var.fill_(1 - block.bn.eps)
    attend = connector.attend[0]
    # a = sigmoid(X), b = sigmoid(2 R).
    attend.weight.data = torch.tensor([[1.0, 0.0], [0.0, 2.0]])[
        ..., None, None
    ]
    attend.bias.data.zero_()
    fine = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    coarse = torch.tensor([[[[-1.0]]]])
    first, second = connector([fine, coarse])
    torch.testing.assert_close(second, coarse)
    expected = fine.sigmoid() * fine - torch.tensor(-2.0).sigmoid()
    torch.testing.assert_close(first, expected)


def test_earlier_levels_see_later_ones_and_not_the_reverse():
    connector = ReviewKDConnector([4, 6, 6], [4, 4, 4])
    fine, coarse = (x.requires_grad_() for x in stages([4, 6]))
    outputs = connector([fine, coarse])
    outputs[0].square().sum().backward(retain_graph=True)
    assert fine.grad.abs().sum() > 0 and coarse.grad.abs().sum() > 0
    fine.grad = None
    (outputs[1] + outputs[2]).square().sum().backward()
    assert fine.grad is None


def test_all_of_it_learns():
    connector = ReviewKDConnector([4, 6, 6], [3, 5, 5])
    outputs = connector(stages([4, 6]))
    weights = [torch.randn_like(o) for o in outputs]
    sum(
        (w * o).sum() for w, o in zip(weights, outputs, strict=True)
    ).backward()
    for name, parameter in connector.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_maps_are_enlarged_to_the_teachers():
    connector = ReviewKDConnector(
        [4, 6, 6], [3, 5, 5], out_sizes=[32, 16, None]
    )
    outputs = connector(stages([4, 6]))
    assert [o.shape[-1] for o in outputs] == [32, 16, 1]


def test_width_of_the_fusion():
    def width(**options):
        connector = ReviewKDConnector([4, 600], [4, 600], **options)
        return connector.attend[0].in_channels // 2

    assert width() == 512
    assert width(mid_channels=3) == 3
    assert ReviewKDConnector([4, 6], [4, 6]).attend[0].in_channels == 12


@pytest.mark.parametrize(
    'options',
    [
        dict(in_channels=[4, 6], out_channels=[4]),
        dict(in_channels=[4], out_channels=[4]),
        dict(in_channels=[4, 6], out_channels=[4, 6], out_sizes=[8]),
        dict(in_channels=[4, 6], out_channels=[4, 0]),
        dict(in_channels=[4, 6], out_channels=[4, 6], out_sizes=[0, 1]),
        dict(in_channels=[4, 6], out_channels=[4, 6], mid_channels=0),
        dict(in_channels=[4, 6], out_channels=[4, 6], pooled=None),
    ],
    ids=str,
)
def test_bad_options_are_refused(options):
    with pytest.raises(ConfigError, match=r'connectors\.\*'):
        ReviewKDConnector(**options)


def test_too_few_features_are_refused():
    connector = ReviewKDConnector([4, 6, 6], [4, 6, 6])
    with pytest.raises(ValueError, match='2 levels of maps, but got 1'):
        connector(stages([4]))


def test_weights_start_as_the_authors():
    torch.manual_seed(0)
    connectors = ModuleDict(
        dict(
            stages=ReviewKDConnector([64, 128, 256, 256], [64, 128, 256, 256])
        )
    )
    connectors.init_weights()  # As a runner does.
    connector = connectors['stages']
    for block in (*connector.reduce, *connector.project):
        weight = block.conv.weight
        fan_in = weight[0].numel()
        expected = 1 / math.sqrt(fan_in)
        assert weight.std().item() == pytest.approx(expected, rel=0.03)
        assert weight.abs().max() <= math.sqrt(3 / fan_in)  # uniform
    # 256 to 64 channels, 3 x 3.
    assert connector.project[0].conv.weight.std().item() == pytest.approx(
        0.0208, abs=3e-4
    )
    for conv in connector.attend:
        fan_in = conv.weight[0].numel()
        expected = 1 / math.sqrt(3 * fan_in)
        assert conv.weight.std().item() == pytest.approx(expected, rel=0.05)


def test_another_start_can_be_chosen():
    init = dict(type='Constant', layer='Conv2d', val=0.25)
    connector = ReviewKDConnector([4, 6], [4, 6], init_cfg=init)
    connector.init_weights()
    for block in (*connector.reduce, *connector.project):
        assert (block.conv.weight == 0.25).all()


def test_one_image_is_enough():
    connector = ReviewKDConnector([4, 6, 6], [3, 5, 5]).train()
    features = [x.requires_grad_() for x in stages([4, 6], batch=1)]
    outputs = connector(features)
    assert [tuple(o.shape) for o in outputs] == [
        (1, 3, 16, 16),
        (1, 5, 8, 8),
        (1, 5, 1, 1),
    ]
    sum(o.square().sum() for o in outputs).backward()
    for x in (*features, *connector.parameters()):
        assert x.grad.isfinite().all() and x.grad.abs().sum() > 0
    # The pooled level is normalized by the running moments, 0 and 1.
    block = connector.reduce[2]
    pooled = features[1].mean((2, 3), keepdim=True)
    expected = block.conv(pooled) / math.sqrt(1 + block.norm.eps)
    output = connector.project[2].conv(expected)
    output = output / math.sqrt(1 + block.norm.eps)
    torch.testing.assert_close(outputs[2], output)
    assert block.norm.num_batches_tracked == 0
