"""Provide a small searchable model, and runners that train it."""

from __future__ import annotations

import copy
import json
import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.hooks import Hook
from mmengine.logging import MessageHub, MMLogger
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, HOOKS, MODELS, DefaultScope
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from torch import nn

from mmtst.augmentation.base import Policy
from mmtst.models.objectives.gap_result import PARTS, GapResult
from mmtst.utils.safe_loading import install_safe_loading

TARGET = 1.5


class FakeEncoder(nn.Module):
    """Hold a policy as the encoder does."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer('th_p', torch.zeros(14))
        self.register_buffer('th_m', torch.zeros(11))
        self.clamp_theta = 3.0
        self.gate = 'logit'
        self.temperature = 0.05
        self.num_operators = 4

    @property
    def policy(self) -> Policy:
        return Policy(self.th_p, self.th_m)

    def write_policy(self, policy: Policy) -> None:
        for buffer, value in zip(self.policy, policy, strict=True):
            if not bool(value.isfinite().all()):
                raise ValueError('not finite')
            buffer.copy_(value.detach().clamp(-3, 3))


@MODELS.register_module()
class FakeSearchable(BaseModel):
    """Pull every parameter of the policy toward ``TARGET``, with noise.

    ``broken`` numbers the evaluations (0-based, over all searches) whose
    objective is NaN; ``empty`` those without objects.
    """

    def __init__(
        self,
        broken: tuple[int, ...] = (),
        empty: tuple[int, ...] = (),
        noise: float = 0.1,
    ) -> None:
        super().__init__()
        self.student = nn.Linear(2, 1)
        self.augmentation = FakeEncoder()
        self.broken, self.empty, self.noise = broken, empty, noise
        self.evaluations: list[SimpleNamespace] = []
        self.trained: list[list[float]] = []
        self.in_search = False

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = ''):
        stacked = torch.stack(inputs)
        if self.training:
            self.trained.append(stacked.flatten().tolist())
        return {'loss': self.student(stacked).square().mean()}

    @contextmanager
    def search_mode(self) -> Iterator[None]:
        self.in_search = True
        try:
            yield
        finally:
            self.in_search = False

    def prepare_search_batch(self, data: dict[str, Any]):
        return torch.stack(data['inputs']), list(data['data_samples'])

    def draw_views(self, inputs, data_samples, policy, generator):
        draw = torch.randn(25, generator=generator)
        stats = SimpleNamespace(
            objects_kept=0.9,
            visible_area=0.8,
            box_scale=1.1,
            redraws=0.25,
            shrunk=0.0,
        )
        return draw, stats

    def search_objective(self, inputs, data_samples, policy, draw):
        number = len(self.evaluations)
        self.evaluations.append(
            SimpleNamespace(
                inputs=inputs.flatten().tolist(),
                draw=None if draw is None else draw.tolist(),
                policy=policy.detach(),
                temperature=self.augmentation.temperature,
                in_search=self.in_search,
                global_draw=float(torch.rand(1)),
            )
        )
        if number in self.empty:
            return None
        theta = torch.cat(list(policy))
        noise = torch.zeros(25) if draw is None else self.noise * draw
        teacher = (theta - TARGET + noise).square().mean()
        student = 0.1 * (theta * noise).mean()
        total = teacher + student
        if number in self.broken:
            total = total * float('nan')
        live = dict.fromkeys(PARTS, torch.zeros(()))
        live.update(T_cls=teacher, S_cls=student)
        return GapResult(
            total=total,
            parts={name: part.detach() for name, part in live.items()},
            positives=10,
            teacher_right=0.75,
            student_wrong=0.5,
            gap_rate=0.25,
            _live=live,
        )


@DATASETS.register_module()
class RandomSet(BaseDataset):
    """Give numbers that depend on the index and on NumPy's global state."""

    def __init__(self, size: int = 12) -> None:
        self.size = size
        super().__init__(serialize_data=False)

    def load_data_list(self) -> list[dict[str, Any]]:
        return [{'number': float(i)} for i in range(self.size)]

    def prepare_data(self, idx: int) -> dict[str, Any]:
        jitter = np.random.rand()
        number = self.get_data_info(idx)['number']
        return {
            'inputs': torch.tensor([number, jitter]),
            'data_samples': number,
        }


@HOOKS.register_module()
class StatesHook(Hook):
    """Note the global random numbers and counters around training."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []

    def after_train_iter(self, runner, batch_idx, **kwargs) -> None:
        # Peeks without drawing.
        self.seen.append(
            (
                runner.epoch,
                runner.iter,
                batch_idx,
                runner.optim_wrapper.get_lr()['lr'][0],
                float(torch.rand(1, generator=_copied_generator())),
                float(np.random.get_state()[1][0]),
                int(np.random.get_state()[2]),
            )
        )


def _copied_generator() -> torch.Generator:
    generator = torch.Generator()
    generator.set_state(torch.get_rng_state())
    return generator


@pytest.fixture
def make_model() -> Callable[..., FakeSearchable]:
    """Return the class of the fake model."""
    return FakeSearchable


@pytest.fixture
def make_set() -> Callable[..., RandomSet]:
    """Return the class of the random data set."""
    return RandomSet


@pytest.fixture
def make_runner(tmp_path: Path) -> Iterator[Callable[..., Runner]]:
    """Return a function that builds a runner.

    Its arguments: ``search``, the hook's options or ``None``; ``by_epoch``;
    ``model``, options of the fake; further top-level keys of the config.
    """

    install_safe_loading()

    def build(
        search: dict[str, Any] | None,
        by_epoch: bool = True,
        model: dict[str, Any] | None = None,
        workers: int = 0,
        **more: Any,
    ) -> Runner:
        hooks: list[dict[str, Any]] = [{'type': 'StatesHook'}]
        if search is not None:
            hook = {'type': 'mmtst.PolicySearchHook', 'probe': False}
            hooks.insert(0, {**hook, **search})
        sampler = 'DefaultSampler' if by_epoch else 'InfiniteSampler'
        checkpoint = {'type': 'CheckpointHook', 'by_epoch': by_epoch}
        cfg: dict[str, Any] = {
            'work_dir': str(tmp_path / 'work'),
            'experiment_name': uuid.uuid4().hex,
            'model': {'type': 'FakeSearchable', **(model or {})},
            'train_dataloader': {
                'dataset': {'type': 'RandomSet'},
                'sampler': {'type': sampler, 'shuffle': True},
                'batch_size': 3,
                'num_workers': workers,
            },
            'optim_wrapper': {'optimizer': {'type': 'SGD', 'lr': 1e-3}},
            'param_scheduler': [
                {'type': 'LinearLR', 'start_factor': 0.1, 'by_epoch': False}
            ],
            'train_cfg': {'by_epoch': True, 'max_epochs': 3}
            if by_epoch
            else {'by_epoch': False, 'max_iters': 8},
            'default_hooks': {'checkpoint': {**checkpoint, 'interval': 1}},
            'custom_hooks': hooks,
            'log_processor': {'by_epoch': by_epoch},
            'log_level': 'INFO',
            'randomness': {'seed': 7},
            'default_scope': 'mmengine',
        }
        cfg.update(copy.deepcopy(more))
        return Runner.from_cfg(Config(cfg))

    yield build
    logging.shutdown()
    for kind in (MMLogger, Visualizer, DefaultScope, MessageHub):
        kind._instance_dict.clear()


@pytest.fixture
def read_json() -> Callable[[Path], Any]:
    """Return a function that reads a JSON file strictly."""

    def refuse(word: str) -> None:
        raise ValueError(word)

    def read(path: Path) -> Any:
        return json.loads(path.read_text(), parse_constant=refuse)

    return read
