"""Check that no loss of a config makes NaN of little or constant input."""

from __future__ import annotations

from typing import Any

import mmtst  # noqa: F401  isort: skip
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from mmpretrain.structures import DataSample
from torch import Tensor

from mmtst.registry import MODELS


def levelwise(kind: str, form: str = 'map', **options: Any) -> dict[str, Any]:
    loss = dict(type=f'mmrazor.{kind}', **options)
    return dict(type='mmtst.LevelwiseLoss', loss=loss, form=form)


ON_MAPS = {
    'kl': levelwise('KLDivergence', 'rows', tau=4.0),
    'dist': levelwise('DISTLoss', 'rows', tau=4.0),
    'cwd': levelwise('ChannelWiseDivergence', tau=1.0),
    'pkd': levelwise('PKDLoss'),
    'mgd': levelwise('MGDLoss'),
    'at': dict(type='mmtst.AttentionTransferLoss'),
    'mimic': dict(type='mmtst.MimicLoss'),
    'dense_kl': dict(type='mmtst.DenseKLLoss'),
    'dense_kl_sigmoid': dict(type='mmtst.DenseKLLoss', form='sigmoid'),
    'reviewkd': dict(type='mmtst.ReviewKDLoss', pooled=False),
    'fgd': dict(type='mmtst.FGDLoss', channels=4, num_levels=1),
}
ON_VECTORS = {
    'kl': dict(type='mmrazor.KLDivergence', tau=4.0),
    'dist': dict(type='mmrazor.DISTLoss', tau=4.0),
    'dkd': dict(
        type='mmtst.WarmupLoss',
        epochs=20,
        loss=dict(type='mmtst.DKDLoss'),
    ),
    'crd': dict(
        type='mmtst.CRDLoss', num_samples=6, channels=4, num_negatives=3
    ),
}
MAPS = [(1, 4, 1, 1), (2, 4, 1, 1), (1, 4, 1, 3), (1, 4, 2, 3)]
VECTORS = [(1, 4), (2, 4)]
CONTENTS = ('random', 'equal', 'zero', 'constant', 'zero student', 'large')


def sides(content: str, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, *shape, generator=generator)
    if content == 'equal':
        teacher = student.clone()
    elif content in ('zero', 'constant'):
        student, teacher = torch.full((2, *shape), 2.0 * (content != 'zero'))
    elif content == 'zero student':
        student = torch.zeros(shape)
    elif content == 'large':  # Some probabilities are 0 in float32.
        student, teacher = 1000 * student, 1000 * teacher
    return student.clone().requires_grad_(), teacher


def samples(name: str, shape: tuple[int, ...]) -> list[Any]:
    if name == 'crd':
        return [
            DataSample(sample_idx=torch.tensor(i)).set_gt_label(i)
            for i in range(shape[0])
        ]
    found = []
    for boxes in ([[0.0, 0, 9, 9]], [])[: shape[0]]:
        sample = DetDataSample(
            metainfo=dict(img_shape=(8 * shape[2], 8 * shape[3]))
        )
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor(boxes).reshape(-1, 4)
        )
        found.append(sample)
    return found


CASES = [
    pytest.param(name, cfg, shape, id=f'{name}-{"x".join(map(str, shape))}')
    for losses, shapes in ((ON_MAPS, MAPS), (ON_VECTORS, VECTORS))
    for name, cfg in losses.items()
    for shape in shapes
]


@pytest.mark.parametrize('content', CONTENTS)
@pytest.mark.parametrize(('name', 'cfg', 'shape'), CASES)
def test_values_and_gradients_are_finite(
    name: str, cfg: dict[str, Any], shape: tuple[int, ...], content: str
) -> None:
    torch.manual_seed(0)
    loss = MODELS.build(cfg)
    student, teacher = sides(content, shape)
    more: tuple[Any, ...] = ()
    if name in ('crd', 'fgd'):
        more = (samples(name, shape),)
    elif name == 'dkd':
        more = (torch.arange(shape[0]),)
    value = loss(student, teacher, *more)
    value.backward()
    assert value.shape == () and bool(value.isfinite())
    learned = [student, *loss.parameters()]
    for parameter in learned:
        if parameter.grad is not None:
            assert bool(parameter.grad.isfinite().all())
    assert student.grad is not None


def test_pkd_counts_a_single_value_as_nothing_beside_other_levels() -> None:
    loss = MODELS.build(ON_MAPS['pkd'])
    large, small = sides('random', (1, 4, 2, 3)), sides('random', MAPS[0])
    both = loss([large[0], small[0]], [large[1], small[1]])
    both.backward()
    torch.testing.assert_close(both, loss(*large))
    assert large[0].grad is not None and large[0].grad.abs().sum() > 0
    assert small[0].grad is not None and small[0].grad.abs().sum() == 0
