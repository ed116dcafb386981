"""Start real trainings, kill them, resume them, and compare what they leave.

The trainings are TST distillations of tiny models on a few shapes, by
``tools/train.py`` as users call it, with two searches and validations.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from mmtst.engine.resume import find_checkpoint

ROOT = Path(__file__).resolve().parents[2]

CONFIG = """
_base_ = [
    '{root}/configs/_base_/pairs/{pair}/tst.py',
    '{root}/configs/_base_/datasets/{dataset}.py',
    '{root}/configs/_base_/schedules/{schedule}.py',
]
classes = {classes}
model = dict(
    architecture=dict(cfg_options=classes),
    teacher=dict(cfg_options=classes),
    untrained_teacher=True,
)
randomness = dict(deterministic=True)
# Steps gather the gradients of two batches.
optim_wrapper = dict(accumulative_counts=2)
train_dataloader = dict(
    num_workers={workers}, persistent_workers={persistent},
    sampler=dict(type='{sampler}'),
)
val_dataloader = dict(num_workers=0, persistent_workers=False)
default_hooks = dict(
    logger=dict(interval=1),
    checkpoint=dict(
        by_epoch={by_epoch}, interval={interval}, max_keep_ckpts=2),
    ema=dict(type='EMAHook', momentum=0.05),
)
log_processor = dict(by_epoch={by_epoch})
custom_hooks = [dict(
    type='mmtst.PolicySearchHook', at={at}, by_epoch={by_epoch},
    iterations=6, lr={lr}, report_batches=1, log_interval=1)]
train_cfg = dict(
    _delete_=True, type='{loop}', {length}, val_interval={val_interval})
"""


TASKS = {
    'det': dict(
        pair='small_retinanet',
        dataset='shapes_detection',
        schedule='scratch_adamw',
        classes='dict(bbox_head=dict(num_classes=5))',
        lr=0.5,
    ),
    'seg': dict(
        pair='small_pspnet',
        dataset='shapes_segmentation',
        schedule='scratch_adamw_iters',
        classes='dict(decode_head=dict(num_classes=6), '
        'auxiliary_head=dict(num_classes=6))',
        # After a few steps it is not sure of anything yet.
        lr=5.0,
    ),
}


@dataclass(frozen=True)
class Variant:
    """Say which loop trains what, and how data are loaded."""

    by_epoch: bool
    workers: int = 0
    persistent: bool = False
    task: str = 'det'

    def __str__(self) -> str:
        loop = 'epochs' if self.by_epoch else 'iterations'
        kept = ', persistent' if self.persistent else ''
        return f'{self.task}, {loop}, {self.workers} workers{kept}'

    def config(self) -> str:
        """Return the text of a config: 24 steps, two searches."""
        values: dict[str, Any] = dict(
            root=ROOT,
            workers=self.workers,
            persistent=self.persistent,
            by_epoch=self.by_epoch,
            **TASKS[self.task],
        )
        if self.by_epoch:
            values.update(
                loop='EpochBasedTrainLoop',
                sampler='DefaultSampler',
                length='max_epochs=4',
                at=[1, 2],
                interval=1,
                val_interval=2,
            )
        else:
            values.update(
                loop='IterBasedTrainLoop',
                sampler='InfiniteSampler',
                length='max_iters=24',
                at=[6, 13],
                interval=4,
                val_interval=12,
            )
        return CONFIG.format(**values)


VARIANTS = [
    Variant(by_epoch, workers, persistent)
    for by_epoch in (True, False)
    for workers, persistent in ((0, False), (2, False), (2, True))
]

# What the log says when a kill is to strike, and how long after.
MOMENTS = {
    'in a search': ('Search step', 0.3),
    'during a save': ('Saving checkpoint', 0.02),
    'during a validation': ('(val)', 0.02),
    'at any time': ('', 12.0),
}


@dataclass
class Training:
    """Run one training in a work dir, as often as it takes.

    Attributes:
        variant: Of the config.
        data: Folder of the shapes.
        work_dir: Of the training.
        options: Further settings of the config, as ``key=value``.
    """

    variant: Variant
    data: Path
    work_dir: Path
    options: tuple[str, ...] = ()
    output: list[str] = field(default_factory=list)

    def start(self) -> subprocess.Popen[str]:
        """Start or resume the training."""
        self.work_dir.mkdir(parents=True, exist_ok=True)
        config = self.work_dir.with_suffix('.py')
        config.write_text(self.variant.config())
        command = [sys.executable, str(ROOT / 'tools' / 'train.py')]
        command += [str(config), '--data-root', str(self.data)]
        command += ['--work-dir', str(self.work_dir), '--resume']
        if self.options:
            command += ['--cfg-options', *self.options]
        return subprocess.Popen(
            command,
            cwd=self.work_dir,
            env={
                **os.environ,
                'OMP_NUM_THREADS': '1',
                'MKL_NUM_THREADS': '1',
                'PYTHONPATH': str(ROOT),
                'PYTHONWARNINGS': 'ignore',
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def finish(self) -> str:
        """Run to the end; return what was printed.

        Raises:
            RuntimeError: It ended with an error.
        """
        process = self.start()
        text, _ = process.communicate(timeout=600)
        self.output.append(text)
        if process.returncode != 0:
            raise RuntimeError(f'the training failed:\n{text[-4000:]}')
        return text

    def kill(self, moment: str, rng: random.Random) -> bool:
        """Run until a moment, then kill all processes of the training.

        Returns:
            Whether it was still running then.
        """
        word, longest = MOMENTS[moment]
        process = self.start()
        # Which of the times that the log says so.
        passed = rng.randrange(3)
        lines: Iterator[str] = iter(process.stdout or ())
        seen = []
        if word:
            for line in lines:
                seen.append(line)
                passed -= word in line
                if passed < 0:
                    break
        time.sleep(rng.uniform(0, longest))
        running = process.poll() is None
        if running:
            os.killpg(process.pid, signal.SIGKILL)
        seen += list(lines)
        process.wait()
        self.output.append(''.join(seen))
        if not running and process.returncode != 0:
            raise RuntimeError(
                f'the training failed:\n{"".join(seen)[-4000:]}'
            )
        return running

    def result(self) -> dict[str, Any]:
        """Return what the last checkpoint holds.

        Raises:
            RuntimeError: There is none of the last step.
        """
        path = find_checkpoint(self.work_dir).path
        last = 'epoch_4.pth' if self.variant.by_epoch else 'iter_24.pth'
        if path is None or path.name != last:
            raise RuntimeError(f'{path} is not the last checkpoint')
        content = torch.load(path, map_location='cpu', weights_only=False)
        keys = (
            'state_dict',
            'ema_state_dict',
            'optimizer',
            'param_schedulers',
        )
        return {key: content[key] for key in keys}


def differences(one: Any, two: Any, path: str = '') -> list[str]:
    """List where two nested structures are not the same, bit for bit."""
    if isinstance(one, torch.Tensor):
        same = isinstance(two, torch.Tensor) and torch.equal(one, two)
        return [] if same else [path]
    if isinstance(one, dict) and isinstance(two, dict):
        found = [] if set(one) == set(two) else [f'{path}: keys']
        for key in set(one) & set(two):
            found += differences(one[key], two[key], f'{path}.{key}')
        return found
    if isinstance(one, (list, tuple)) and isinstance(two, (list, tuple)):
        found = [] if len(one) == len(two) else [f'{path}: length']
        for number, pair in enumerate(zip(one, two, strict=False)):
            found += differences(*pair, f'{path}[{number}]')
        return found
    return [] if one == two else [path]
