"""Search in several processes; run by torchrun, or alone to compare.

Writes to OUT, for each rank: the policy's averaged gradient, and the policy
after a step in which the last rank met a NaN and a step without one.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import mmtst  # noqa: F401  isort: skip
import torch
from mmengine.config import Config
from torch import Tensor, distributed

from mmtst.engine.search_loop import PolicySearch
from mmtst.engine.search_types import SearchOptions
from mmtst.registry import MODELS
from mmtst.testing.detection import detection_batch, tiny_retinanet
from mmtst.utils.compat import join_cpu_processes

RANKS = 2
HEAD = dict(type='ModuleOutputs', source='bbox_head')


def build_search() -> PolicySearch:
    """Build a small TST distillation, the same in all processes."""
    torch.manual_seed(0)
    mapping = dict(
        preds_S=dict(from_student=True, recorder='head', data_idx=0),
        preds_T=dict(from_student=False, recorder='head', data_idx=0),
    )
    model = MODELS.build(
        dict(
            _scope_='mmrazor',
            type='mmtst.TSTDistill',
            architecture=tiny_retinanet(),
            teacher=tiny_retinanet(base_channels=16),
            untrained_teacher=True,
            distiller=dict(
                type='mmtst.DataAugmentationDistiller',
                student_recorders=dict(head=HEAD),
                teacher_recorders=dict(head=HEAD),
                distill_losses=dict(loss_kl=dict(type='mmtst.DenseKLLoss')),
                loss_forward_mappings=dict(loss_kl=mapping),
            ),
        )
    )
    model.init_weights()
    return PolicySearch(
        model,
        SearchOptions(iterations=3, steps_per_epoch=3, lr=0.5),
        seed=11,
        autocast=nullcontext,
        logger=logging.getLogger('two_processes'),
        on_log=lambda entry: None,
    )


def batch_of(rank: int, step: int) -> dict[str, Any]:
    """Return a batch as a loader gives it; other images for each rank."""
    images, samples = detection_batch(seed=10 * step + rank)
    pictures = [(i * 40 + 120).clamp(0, 255).byte() for i in images]
    return dict(inputs=pictures, data_samples=samples)


def gradient_of(search: PolicySearch, rank: int) -> Tensor:
    """Return one rank's own gradient at the start."""
    search.rank = rank
    model: Any = search.model
    search._begin(model.augmentation.policy.detach())
    with model.search_mode():
        return search._measure(batch_of(rank, 0), 0).gradient


def main(out: Path) -> None:
    """Take three steps, with all ranks."""
    join_cpu_processes(Config())
    rank = int(os.environ['RANK'])
    search = build_search()
    model: Any = search.model
    search._begin(model.augmentation.policy.detach())
    found: dict[str, Any] = {}
    with model.search_mode():
        for step, name in enumerate(('gradient', 'broken', 'after')):
            bias = model.student.bbox_head.retina_cls.bias
            held = bias.detach().clone()
            if name == 'broken' and rank == RANKS - 1:
                bias.fill_(float('nan'))
            outcome = search._measure(batch_of(rank, step), step).reduced()
            bias.copy_(held)
            found[name] = outcome.gradient
            if name != 'gradient':
                before = model.augmentation.policy.detach()
                search._advance(step, outcome)
                found[f'{name} moved'] = not torch.equal(
                    before.th_p, model.augmentation.th_p
                )
    found['nonfinite'] = search.nonfinite
    found['policy'] = model.augmentation.policy.detach()._asdict()
    torch.save(found, out / f'rank_{rank}.pth')
    distributed.destroy_process_group()


if __name__ == '__main__':
    main(Path(sys.argv[1]))
