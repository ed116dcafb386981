"""The message hub gets what mmengine's hook gives it, in fewer transfers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import Dataset

from mmtst.engine.hooks import DeferredRuntimeInfoHook


class Numbers(Dataset):
    def __len__(self) -> int:
        return 14

    def __getitem__(self, index: int) -> Tensor:
        return torch.tensor([float(index)])


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


def train(tmp_path: Any, name: str, hook: Any, **train_cfg: Any) -> Runner:
    torch.manual_seed(0)
    by_epoch = train_cfg['by_epoch']
    runner = Runner(
        model=Line(),
        work_dir=str(tmp_path / name),
        train_dataloader=dict(
            batch_size=2,
            dataset=Numbers(),
            sampler=dict(type='DefaultSampler', shuffle=True),
        ),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e-4)),
        train_cfg=train_cfg,
        default_hooks=dict(
            runtime_info=hook,
            logger=dict(type='LoggerHook', interval=3),
            checkpoint=dict(
                type='CheckpointHook',
                interval=1 if by_epoch else 6,
                by_epoch=by_epoch,
            ),
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
    'train_cfg',
    [dict(by_epoch=True, max_epochs=2), dict(by_epoch=False, max_iters=13)],
    ids=['epochs', 'iterations'],
)
def test_the_hub_and_checkpoints_hold_the_same(
    tmp_path: Any, train_cfg: dict[str, Any]
) -> None:
    runs = [
        train(tmp_path, name, dict(type=name), **train_cfg)
        for name in ('RuntimeInfoHook', 'mmtst.DeferredRuntimeInfoHook')
    ]
    expected, found = (histories(run.message_hub) for run in runs)
    assert len(expected['train/loss']) >= 13
    assert len(set(expected['train/loss'])) > 10
    assert found == expected
    last = 'epoch_1.pth' if train_cfg['by_epoch'] else 'iter_6.pth'
    saved = [
        torch.load(
            tmp_path / name / last, weights_only=False, map_location='cpu'
        )['message_hub']['log_scalars']['train/loss']
        for name in ('RuntimeInfoHook', 'mmtst.DeferredRuntimeInfoHook')
    ]
    assert list(saved[0].data[0]) == list(saved[1].data[0])


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
