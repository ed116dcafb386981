"""Take a step of each baseline on each small pair, from its own config."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmtst.registry import MODELS
from mmtst.testing.detection import detection_batch
from mmtst.testing.segmentation import segmentation_batch

ROOT = Path(__file__).parents[1] / 'configs'
CONFIGS = sorted(
    path.relative_to(ROOT)
    for pattern in ('*/mmdet/*_bccd.py', '*/mmseg/*_camvid.py')
    for path in ROOT.glob(pattern)
    if path.parts[-3] != 'tst'
)


def build(path: Path) -> torch.nn.Module:
    cfg = Config.fromfile(ROOT / path)
    init_default_scope(cfg.default_scope)
    cfg.model.update(teacher_ckpt=None, untrained_teacher=True)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.train()
    return model


def test_there_is_one_for_each_method_and_family() -> None:
    assert len(CONFIGS) == 8 * 3 + 3


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_a_step_distils(path: Path) -> None:
    model = build(path)
    if 'mmseg' in path.parts:
        batch = segmentation_batch(num_classes=11)
        # KD and DIST compare both heads, CWD the decode head.
        number = 1 if path.stem.startswith('cwd') else 2
    else:
        batch = detection_batch()
        number = 2 if 'cls-fpn' in path.stem else 1
    losses = model.loss(*batch)
    distilled = [v for name, v in losses.items() if name.startswith('distill')]
    assert len(distilled) == number
    assert all(bool(v.isfinite()) and v > 0 for v in distilled)
    sum(distilled).backward()
    # Where it is compared, or before it, all of the student learns of it.
    for name, parameter in model.student.backbone.named_parameters():
        assert parameter.grad is not None, name
    # PKD leaves out the coarsest level of the neck.
    last = 'decode_head' if 'mmseg' in path.parts else 'neck'
    gradients = [p.grad for p in getattr(model.student, last).parameters()]
    total = sum(g.abs().sum() for g in gradients if g is not None)
    assert 0 < total < float('inf')
    for name, parameter in model.distiller.named_parameters():
        assert parameter.grad is not None, name
    assert all(p.grad is None for p in model.teacher.parameters())
