"""The message hub gets what mmengine's hook gives it, in fewer transfers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from mmtst.engine.hooks import DeferredRuntimeInfoHook

NUMBERS = [torch.tensor([float(i)]) for i in range(14)]


class Line(BaseModel):
    """Logs its loss, another number, and one that is no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(1, 1)

    def forward(self, *batch: Any, mode: str = 'tensor') -> Any:
        loss = self.line(torch.stack(list(batch))).square().mean()
        return dict(loss=loss, spread=loss.detach() * torch.arange(2.0))

    def train_step(self, data: Any, optim_wrapper: Any) -> dict[str, Any]:
        logged: dict[str, Any] = super().train_step(data, optim_wrapper)
        return logged | dict(constant=0.5)


def train(
    tmp_path: Any,
    name: str,
    hook: Any,
    saves: dict[str, Any] | None = None,
    **train_cfg: Any,
) -> Runner:
    torch.manual_seed(0)
    by_epoch = train_cfg['by_epoch']
    if saves is None:
        saves = dict(interval=1 if by_epoch else 6, by_epoch=by_epoch)
    runner = Runner(
        model=Line(),
        work_dir=str(tmp_path / name),
        train_dataloader=dict(
            batch_size=2,
            dataset=NUMBERS,
            sampler=dict(type='DefaultSampler', shuffle=True),
        ),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e-4)),
        train_cfg=train_cfg,
        default_hooks=dict(
            runtime_info=hook,
            logger=dict(type='LoggerHook', interval=3),
            checkpoint=dict(type='CheckpointHook', **saves),
        ),
        randomness=dict(seed=0),
        experiment_name=f'{tmp_path.name}_{name}',
    )
    runner.train()
    return runner


def histories(hub: Any) -> dict[str, list[float]]:
    return {
        name: list(buffer.data[0])
        for name, buffer in hub.log_scalars.items()
        if 'time' not in name
    }


@pytest.mark.parametrize(
    ('train_cfg', 'saves', 'last'),
    [
        (dict(by_epoch=True, max_epochs=2), None, 'epoch_1'),
        (dict(by_epoch=False, max_iters=13), None, 'iter_6'),
        (
            dict(by_epoch=False, max_iters=13),
            dict(by_epoch=False, interval=4),
            'iter_8',
        ),
        # Iteration 9 is the second of its epoch; the log is written after
        # the third and the sixth.
        (
            dict(by_epoch=True, max_epochs=2),
            dict(by_epoch=False, interval=9),
            'iter_9',
        ),
    ],
    ids=['epochs', 'iterations', 'between logs', 'within epochs'],
)
def test_the_hub_and_checkpoints_hold_the_same(
    tmp_path: Any,
    train_cfg: dict[str, Any],
    saves: dict[str, Any] | None,
    last: str,
) -> None:
    kinds = ('RuntimeInfoHook', 'mmtst.DeferredRuntimeInfoHook')
    runs = [
        train(tmp_path, kind, dict(type=kind), saves, **train_cfg)
        for kind in kinds
    ]
    expected, found = (histories(run.message_hub) for run in runs)
    assert len(expected['train/loss']) >= 13
    assert len(set(expected['train/loss'])) > 10
    assert found == expected
    saved = [
        torch.load(
            tmp_path / kind / f'{last}.pth',
            weights_only=False,
            map_location='cpu',
        )['message_hub']['log_scalars']
        for kind in kinds
    ]
    for name in ('train/loss', 'train/spread', 'train/constant', 'train/lr'):
        assert list(saved[0][name].data[0]) == list(saved[1][name].data[0])


def test_reads_only_when_it_is_time(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushes = []
    flush = DeferredRuntimeInfoHook._flush

    def counted(self: DeferredRuntimeInfoHook, runner: Any) -> None:
        if self._pending:
            flushes.append(len(self._pending))
        flush(self, runner)

    monkeypatch.setattr(DeferredRuntimeInfoHook, '_flush', counted)
    hook = dict(type='mmtst.DeferredRuntimeInfoHook')
    train(tmp_path, 'a', hook, by_epoch=True, max_epochs=2)
    # 7 steps an epoch, logged every 3.
    assert flushes == [3, 3, 1] * 2
