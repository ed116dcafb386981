"""Train a pair's own config for three steps, for the tests of the pairs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmtst.models.build import build_model


def give_random_teacher(cfg: Config, folder: Path) -> None:
    """Save a teacher of random weights, and make the config take it."""
    torch.manual_seed(1)
    teacher = build_model(cfg.model.teacher, 'model.teacher')
    teacher.init_weights()
    cfg.model.teacher_ckpt = str(folder / 'teacher.pth')
    torch.save(dict(state_dict=teacher.state_dict()), cfg.model.teacher_ckpt)
    # It is no teacher, which the check would find out.
    cfg.default_hooks.teacher_check.enabled = False


def train_three_steps(cfg: Config) -> tuple[Runner, list[dict[str, Any]]]:
    """Train, and check what holds for any pair.

    All losses are finite, the search has looked and moved the policy, and the
    teacher is what it was.

    Returns:
        The runner at its end, and what each step has lost.
    """
    cfg.default_hooks.logger.interval = 1
    runner = Runner.from_cfg(cfg)
    teacher = runner.model.teacher
    before = {k: v.clone() for k, v in teacher.state_dict().items()}
    steps: list[dict[str, Any]] = []
    compute = runner.model.loss

    def loss(*args: Any) -> Any:
        steps.append(compute(*args))
        return steps[-1]

    runner.model.loss = loss
    runner.train()
    assert runner.iter == len(steps) == 3
    for step in steps:
        for name, value in step.items():
            values = value if isinstance(value, list) else [value]
            assert all(bool(v.isfinite().all()) for v in values), name
    lines = (Path(cfg.work_dir) / 'policy.jsonl').read_text().splitlines()
    searched = [json.loads(line) for line in lines]
    objectives = [e['objective'] for e in searched if 'objective' in e]
    assert objectives and np.isfinite(objectives).all()
    assert runner.model.augmentation.th_p.abs().sum() > 0
    for name, value in teacher.state_dict().items():
        assert torch.equal(value, before[name]), name
    return runner, steps
