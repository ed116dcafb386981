from __future__ import annotations

from unittest.mock import patch

import mmcv.ops
import pytest
import torch
from mmcv.cnn.bricks.drop import DropPath
from mmdet.models import DetDataPreprocessor
from mmdet.models.layers import DropBlock
from mmdet.structures import DetDataSample
from mmengine.logging import MessageHub
from mmengine.structures import InstanceData
from torch import nn

from mmtst.models.utils import (
    drops_at_random,
    frozen_parameters,
    frozen_statistics,
    preserved_attributes,
    updates_statistics,
)


class FunctionalAttention(nn.Module):
    def __init__(self, attn_drop: float) -> None:
        super().__init__()
        self.attn_drop = attn_drop


class Head(nn.Module):
    """Has a rate of dropout, which a child applies, and a train branch."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout_ratio = 0.1
        self.dropout = nn.Dropout2d(0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dropout(x) * (2 if self.training else 1)


class SideEffects(nn.Sequential):
    def train(self, mode: bool = True) -> SideEffects:
        raise AssertionError('train() was called')


def mmcv_sync_batch_norm(tracks: bool) -> nn.Module:
    with patch('torch.distributed.get_world_size', return_value=1):
        return mmcv.ops.SyncBatchNorm(2, track_running_stats=tracks)


def small_model() -> nn.Sequential:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.InstanceNorm2d(4, track_running_stats=True),
        nn.Dropout2d(0.5),
        DropPath(0.5),
        DropBlock(0.5, 3, warmup_iters=0),
        Head(),
    )
    return model


STATISTICS = [
    nn.BatchNorm1d(2),
    nn.BatchNorm2d(2),
    nn.BatchNorm3d(2, track_running_stats=False),
    nn.SyncBatchNorm(2),
    mmcv_sync_batch_norm(True),
    mmcv_sync_batch_norm(False),
    nn.InstanceNorm2d(2, track_running_stats=True),
]
RANDOM = [
    nn.Dropout(),
    nn.Dropout1d(),
    nn.Dropout3d(),
    nn.AlphaDropout(),
    nn.FeatureAlphaDropout(),
    DropPath(0.1),
    DropBlock(0.1, 3),
    nn.MultiheadAttention(4, 2, dropout=0.1),
    FunctionalAttention(0.1),
]
NEITHER = [
    nn.Conv2d(1, 1, 1),
    nn.GroupNorm(1, 2),
    nn.LayerNorm(2),
    nn.InstanceNorm2d(2),
    nn.MultiheadAttention(4, 2),
    FunctionalAttention(0.0),
    Head(),
]


@pytest.mark.parametrize('module', STATISTICS, ids=repr)
def test_every_batch_norm_counts(module: nn.Module) -> None:
    assert updates_statistics(module)
    assert not drops_at_random(module)


@pytest.mark.parametrize('module', RANDOM, ids=repr)
def test_every_dropout_counts(module: nn.Module) -> None:
    assert drops_at_random(module)
    assert not updates_statistics(module)


@pytest.mark.parametrize('module', NEITHER, ids=repr)
def test_others_do_not_count(module: nn.Module) -> None:
    assert not updates_statistics(module)
    assert not drops_at_random(module)


@pytest.mark.parametrize('module', STATISTICS + RANDOM, ids=repr)
def test_modes_inside_and_after(module: nn.Module) -> None:
    for before in (True, False):
        module.train(before)
        with frozen_statistics(nn.Sequential(module)):
            assert not module.training
        assert module.training is before


def test_a_model_runs_the_same_twice_and_leaves_no_trace() -> None:
    model = small_model().eval()
    model[0].train()
    flags = [m.training for m in model.modules()]
    before = {k: v.clone() for k, v in model.state_dict().items()}
    images = torch.randn(2, 3, 8, 8)
    with frozen_statistics(model):
        assert model[6].training  # so the train branch is taken
        first, second = model(images), model(images)
    assert torch.equal(first, second)
    assert torch.equal(first, 2 * model(images))
    assert [m.training for m in model.modules()] == flags
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_without_it_the_model_leaves_a_trace() -> None:
    """The check above could fail."""
    model = small_model().train()
    images = torch.randn(2, 3, 8, 8)
    before = model[1].running_mean.clone()
    assert not torch.equal(model(images), model(images))
    assert not torch.equal(model[1].running_mean, before)


def test_buffers_and_flags_are_restored_after_an_error() -> None:
    model = small_model().train()
    mean = model[1].running_mean
    before = mean.clone()

    def fail() -> None:
        with frozen_statistics(model):
            mean.fill_(7.0)
            model[1].running_var = torch.full((4,), float('nan'))
            model[1].train()
            raise RuntimeError('on purpose')

    with pytest.raises(RuntimeError, match='on purpose'):
        fail()
    assert model[1].running_mean is mean
    assert torch.equal(mean, before)
    assert torch.equal(model[1].running_var, torch.ones(4))
    assert all(m.training for m in model.modules())


def test_several_models_and_shared_parts() -> None:
    shared = nn.BatchNorm2d(2)
    first, second = nn.Sequential(shared), nn.Sequential(shared, nn.Dropout())
    with frozen_statistics(first, second):
        assert first.training
        assert not shared.training
        assert not second[1].training
    assert shared.training


def test_train_itself_is_not_called() -> None:
    model = SideEffects(nn.Conv2d(1, 1, 1))
    with pytest.raises(AssertionError, match='was called'):
        model.train()
    with frozen_statistics(model):
        assert model.training
    assert model.training


def test_a_graph_from_inside_can_be_used_after() -> None:
    model = small_model()
    images = torch.randn(1, 3, 8, 8, requires_grad=True)
    with frozen_statistics(model):
        total = model(images).sum()
    total.backward()
    assert images.grad is not None


def test_parameters_are_frozen_and_restored() -> None:
    model = small_model()
    model[0].weight.requires_grad_(False)
    flags = [p.requires_grad for p in model.parameters()]
    images = torch.randn(1, 3, 8, 8, requires_grad=True)

    def fail() -> None:
        with frozen_parameters(model, model):
            assert not any(p.requires_grad for p in model.parameters())
            model(images).sum().backward()
            raise RuntimeError('on purpose')

    with pytest.raises(RuntimeError, match='on purpose'):
        fail()
    assert images.grad is not None
    assert all(p.grad is None for p in model.parameters())
    assert [p.requires_grad for p in model.parameters()] == flags


def test_the_size_a_preprocessor_has_drawn_is_given_back() -> None:
    preprocessor = DetDataPreprocessor(
        batch_augments=[
            dict(
                type='BatchSyncRandomResize',
                random_size_range=(64, 256),
                interval=1,
            )
        ]
    )
    hub = MessageHub.get_instance('preserved_attributes')
    resize = preprocessor.batch_augments[0]
    data = dict(
        inputs=[torch.zeros(3, 96, 96, dtype=torch.uint8)],
        data_samples=[
            DetDataSample(
                metainfo=dict(img_shape=(96, 96)),
                gt_instances=InstanceData(bboxes=torch.zeros(0, 4)),
            )
        ],
    )
    hub.update_info('iter', 0)
    with patch.object(MessageHub, 'get_current_instance', return_value=hub):
        preprocessor(data, True)
        before = resize._input_size
        sizes = set()
        with preserved_attributes(preprocessor):
            for _ in range(8):
                preprocessor(data, True)
                sizes.add(resize._input_size)
    assert len(sizes) > 1
    assert resize._input_size == before
