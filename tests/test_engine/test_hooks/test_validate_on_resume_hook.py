"""A validation that a break has cut off is run when the training resumes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from mmtst.engine.hooks import ValidateOnResumeHook
from mmtst.utils.safe_loading import install_safe_loading

NUMBERS = [torch.tensor([float(i)]) for i in range(4)]


class Line(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(1, 1)

    def forward(self, *batch: Any, mode: str = 'tensor') -> Any:
        output = self.line(torch.stack(list(batch)))
        return dict(loss=output.sum()) if mode == 'loss' else [output]


class Level(BaseMetric):
    default_prefix = 'level'

    def process(self, batch: Any, outputs: Any) -> None:
        self.results.append(float(outputs[0].sum()))

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        return dict(mean=sum(results))


def train(work_dir: Path, hooks: list[Any], **train_cfg: Any) -> None:
    torch.manual_seed(0)
    install_safe_loading()
    loader = dict(
        batch_size=2,
        dataset=NUMBERS,
        sampler=dict(type='DefaultSampler', shuffle=False),
    )
    by_epoch = train_cfg['by_epoch']
    Runner(
        model=Line(),
        work_dir=str(work_dir),
        train_dataloader=loader,
        val_dataloader=loader,
        val_evaluator=[Level()],
        val_cfg=dict(),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e-4)),
        train_cfg=train_cfg,
        default_hooks=dict(
            logger=dict(
                type='LoggerHook', interval=1, log_metric_by_epoch=by_epoch
            ),
            checkpoint=dict(
                type='CheckpointHook', interval=2, by_epoch=by_epoch
            ),
        ),
        log_processor=dict(by_epoch=by_epoch),
        custom_hooks=hooks,
        resume=True,
        randomness=dict(seed=0),
        experiment_name=f'{work_dir.name}_{len(list(work_dir.glob("*")))}',
    ).train()


def validations(work_dir: Path) -> list[int]:
    """Return where validations were logged, without lines cut short."""
    return [
        json.loads(line)['step']
        for log in sorted(work_dir.glob('*/vis_data/scalars.json'))
        for line in log.read_text().splitlines()
        if 'level/mean' in line and line.endswith('}')
    ]


def forget_last_validation(work_dir: Path) -> None:
    (log,) = work_dir.glob('*/vis_data/scalars.json')
    lines = log.read_text().splitlines(keepends=True)
    assert 'level/mean' in lines[-1]
    # As if it had been killed within the line.
    log.write_text(''.join(lines[:-1]) + lines[-1][:10] + '\n')


@pytest.mark.parametrize(
    'loop',
    [
        dict(by_epoch=True, max_epochs=4, val_interval=2),
        dict(by_epoch=False, max_iters=4, val_interval=2),
    ],
    ids=['epochs', 'iterations'],
)
def test_the_last_validation_is_made_up_for(
    tmp_path: Path, loop: dict[str, Any]
) -> None:
    hook = dict(type='mmtst.ValidateOnResumeHook')
    train(tmp_path, [hook], **loop)
    assert validations(tmp_path) == [2, 4]
    # All is there: nothing is validated again.
    train(tmp_path, [hook], **loop)
    assert validations(tmp_path) == [2, 4]


@pytest.mark.parametrize('enabled', [False, True])
def test_without_it_the_result_is_lost(tmp_path: Path, enabled: bool) -> None:
    loop = dict(by_epoch=True, max_epochs=4, val_interval=2)
    train(tmp_path, [], **loop)
    forget_last_validation(tmp_path)
    train(tmp_path, [ValidateOnResumeHook(enabled=enabled)], **loop)
    assert validations(tmp_path) == ([2, 4] if enabled else [2])


def spoiled(log: Path, kind: str) -> None:
    """Keep the validations of epoch 2 and 4, amid what is no record."""
    text = log.read_bytes()
    if kind == 'bytes':
        log.write_bytes(b'\xff\xfe\n' + text)
    elif kind == 'no records':
        log.write_bytes(b'[1]\n3\nnull\n' + b'[' * 100_000 + b'\n' + text)
    elif kind == 'digits':
        log.write_bytes(b'{"step": ' + b'9' * 5000 + b'}\n' + text)
    elif kind == 'types':
        lines = [{'step': each} for each in ('4', True, [4], None, {}, 4.5)]
        log.write_text(''.join(json.dumps(line) + '\n' for line in lines))
        log.write_bytes(log.read_bytes() + text)
    else:
        log.unlink()
        log.mkdir()


@pytest.mark.parametrize(
    'kind', ['bytes', 'no records', 'digits', 'types', 'folder']
)
def test_logs_that_are_none_do_not_stop_a_resume(
    tmp_path: Path, kind: str
) -> None:
    loop = dict(by_epoch=True, max_epochs=4, val_interval=2)
    train(tmp_path, [], **loop)
    (log,) = tmp_path.glob('*/vis_data/scalars.json')
    # Or a start in the same second would log into it.
    earlier = log.parents[1].rename(tmp_path / 'earlier')
    spoiled(earlier / 'vis_data' / log.name, kind)
    train(tmp_path, [ValidateOnResumeHook()], **loop)
    said = [path.read_text() for path in tmp_path.glob('*/*.log')]
    # What is logged there is found still, and what cannot be read is named.
    runs_again = kind == 'folder'
    assert sum('it is run now' in text for text in said) == runs_again
    assert sum('Left out' in text for text in said) == (kind != 'types')


def test_a_step_that_is_no_number_is_none(tmp_path: Path) -> None:
    """``True`` is 1 to Python."""
    loop = dict(by_epoch=True, max_epochs=1)
    train(tmp_path, [], **loop)
    forget_last_validation(tmp_path)
    (log,) = tmp_path.glob('*/vis_data/scalars.json')
    log.write_text(log.read_text() + '{"step": true}\n{"step": 1.0}\n')
    train(tmp_path, [ValidateOnResumeHook()], **loop)
    assert validations(tmp_path) == [1]
