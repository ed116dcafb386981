"""Check ReviewKD's configs, whole, against its paper's formulas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mmtst  # noqa: F401  isort: skip
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import Tensor, nn

from mmtst.registry import MODELS
from mmtst.structures import LabelBatch

CONFIGS = sorted(
    (Path(__file__).parents[1] / 'configs' / 'reviewkd').rglob('*.py')
)
WEIGHT = 5.0


def built(path: Path) -> Any:
    """Build a config's algorithm, in float64, its teacher untrained."""
    model = Config.fromfile(path).model.to_dict()
    del model['teacher_ckpt']
    torch.manual_seed(0)
    algorithm = MODELS.build(dict(model, untrained_teacher=True))
    # No norm is left the identity that it starts as.
    for name, value in algorithm.named_parameters():
        if value.dim() == 1:
            with torch.no_grad():
                value.add_(0.3 * torch.randn_like(value))
            assert name
    return algorithm.double().train()


def stages_of(backbone: Any, images: Tensor) -> tuple[Any, Any, Tensor]:
    """Return maps after and before the ReLU, and what the head reads.

    Of a pre-activation network (WRN) "after" are the sums that its blocks
    give, and "before" the same, normalized by the norm that follows.
    """
    after, before = [], []
    x = backbone.stem(images)
    for index, stage in enumerate(backbone.stages):
        total = stage(x)
        if hasattr(backbone, 'norms'):
            normalized = backbone.norms[index](total)
            after.append(total)
            before.append(normalized)
            x = F.relu(normalized)
        else:
            x = F.relu(total)
            after.append(x)
            before.append(total)
    return after, before, x


def normed(block: Any, x: Tensor) -> Tensor:
    """Convolve and normalize by the batch's moments."""
    conv, norm = block.conv, block.norm
    x = F.conv2d(x, conv.weight, padding=conv.weight.shape[-1] // 2)
    mean = x.mean((0, 2, 3), keepdim=True)
    variance = (x - mean).square().mean((0, 2, 3), keepdim=True)
    scale, shift = (v[:, None, None] for v in (norm.weight, norm.bias))
    return (x - mean) / (variance + norm.eps).sqrt() * scale + shift


def hcl(student: Tensor, teacher: Tensor) -> Tensor:
    """Compute the hierarchical context loss of one level."""
    total, weights, weight = F.mse_loss(student, teacher), 1.0, 1.0
    for size in (4, 2, 1):
        if size >= student.shape[-1]:
            continue
        weight /= 2
        cells = student.shape[-1] // size
        pooled = [F.avg_pool2d(x, cells) for x in (student, teacher)]
        total = total + weight * F.mse_loss(*pooled)
        weights += weight
    return total / weights


def oracle(algorithm: Any, images: Tensor) -> Tensor:
    """Compute the distillation loss: sections 3.2 to 3.4 of the paper."""
    after, _, last = stages_of(algorithm.student.backbone, images)
    with torch.no_grad():
        _, before, head = stages_of(algorithm.teacher.backbone, images)
    students = [*after, last.mean((2, 3), keepdim=True)]
    teachers = [*before, head.mean((2, 3), keepdim=True)]
    connector = algorithm.distiller.connectors['stages']
    total, reviewed = images.new_zeros(()), None
    for level in reversed(range(len(students))):
        x = normed(connector.reduce[level], students[level])
        if reviewed is not None:
            times = x.shape[-1] // reviewed.shape[-1]
            residual = reviewed.repeat_interleave(times, 2)
            residual = residual.repeat_interleave(times, 3)
            conv = connector.attend[level]
            both = torch.cat([x, residual], 1)
            maps = F.conv2d(both, conv.weight, conv.bias).sigmoid()
            x = maps[:, :1] * x + maps[:, 1:] * residual
        reviewed = x
        output = normed(connector.project[level], reviewed)
        total = total + hcl(output, teachers[level])
    return WEIGHT * total


@pytest.mark.parametrize(
    'pair', ['resnet32x4_resnet8x4', 'wrn40-2_wrn16-2', 'wrn40-2_wrn40-1']
)
def test_the_whole_loss_is_the_papers(pair: str) -> None:
    (path,) = (p for p in CONFIGS if f'_{pair}_' in p.stem)
    algorithm = built(path)
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(2, 3, 32, 32, generator=generator).double()
    images.requires_grad_()
    samples = [LabelBatch().set_gt_label(torch.tensor([3, 8]))]
    losses = algorithm.loss(images, samples)
    value = losses['distill.loss_reviewkd']
    (gradient,) = torch.autograd.grad(value, images)
    expected = oracle(algorithm, images)
    (wanted,) = torch.autograd.grad(expected, images)
    torch.testing.assert_close(value, expected, rtol=1e-9, atol=0.0)
    scale = wanted.abs().max().item()
    torch.testing.assert_close(gradient, wanted, rtol=1e-6, atol=1e-9 * scale)


@pytest.mark.parametrize('path', CONFIGS, ids=lambda p: p.stem)
def test_the_teachers_maps_alone_are_those_before_the_relu(path: Path) -> None:
    model = Config.fromfile(path).model
    assert model.teacher.backbone.preact is True
    assert not model.architecture.backbone.get('preact', False)


def test_there_are_configs() -> None:
    assert len(CONFIGS) == 9
    assert issubclass(MODELS.get('mmtst.ReviewKDConnector'), nn.Module)
