"""MobileNetV1 is the paper's network."""

import pytest
import torch
from mmpretrain.registry import MODELS as MMPRETRAIN

from mmtst.models.backbones import MobileNetV1
from mmtst.utils.errors import ConfigError


def classifier():
    return MMPRETRAIN.build(
        dict(
            type='ImageClassifier',
            backbone=dict(type='mmtst.MobileNetV1'),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(
                type='LinearClsHead', num_classes=1000, in_channels=1024
            ),
        )
    )


def test_parameters_are_those_of_the_paper():
    # The paper says 4.2 million. Of a block from i to o channels: 9 i and
    # i o weights, and 2 i + 2 o of batch norm.
    channels = [32, 64, 128, 128, 256, 256, *[512] * 6, 1024, 1024]
    expected = 27 * 32 + 2 * 32 + 1024 * 1000 + 1000
    for i, o in zip(channels, channels[1:], strict=False):
        expected += 9 * i + i * o + 2 * i + 2 * o
    count = sum(p.numel() for p in classifier().parameters())
    assert count == expected == 4_231_976


def test_maps_of_all_stages():
    net = MobileNetV1(width=0.25, out_indices=range(5)).eval()
    maps = net(torch.rand(1, 3, 64, 64))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (16, 32, 32),
        (32, 16, 16),
        (64, 8, 8),
        (128, 4, 4),
        (256, 2, 2),
    ]


def test_gradient_reaches_all_and_norm_eval_keeps_statistics():
    net = MobileNetV1(width=0.25, norm_eval=True).train()
    before = {k: v.clone() for k, v in net.named_buffers()}
    net(torch.rand(2, 3, 64, 64))[-1].square().mean().backward()
    assert all(p.grad is not None for p in net.parameters())
    assert all(torch.equal(v, before[k]) for k, v in net.named_buffers())


@pytest.mark.parametrize(
    'options', [dict(width=0), dict(out_indices=(5,))], ids=str
)
def test_refuses_what_does_not_exist(options):
    with pytest.raises(ConfigError, match='backbone'):
        MobileNetV1(**options)
