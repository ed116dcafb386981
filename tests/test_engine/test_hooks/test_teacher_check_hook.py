"""Test that a teacher that knows nothing stops the run."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import nn

from mmtst.engine.hooks.teacher_check_hook import (
    TeacherCheckHook,
    weights_hash,
)
from mmtst.utils.errors import ConfigError

BOXES = torch.tensor([[0.0, 0, 10, 10], [20.0, 0, 30, 10]])
LABELS = torch.tensor([0, 1])


class Teacher(nn.Module):
    """Predicts the truth, or classes in another order."""

    def __init__(self, knows: bool) -> None:
        super().__init__()
        self.knows = knows
        self.weight = nn.Parameter(torch.ones(2))

    def forward(self, inputs: Any, samples: Any, mode: str) -> list[Any]:
        assert mode == 'predict'
        assert not self.training
        torch.rand(1)
        for sample in samples:
            sample.pred_instances = InstanceData(
                bboxes=BOXES,
                labels=LABELS if self.knows else LABELS.flip(0),
                scores=torch.tensor([0.9, 0.8]),
            )
        return samples


class Distillation(nn.Module):
    def __init__(self, knows: bool = True, untrained: bool = False) -> None:
        super().__init__()
        self.teacher = Teacher(knows)
        self.untrained_teacher = untrained
        self.teacher_ckpt = 'teacher.pth'

    def data_preprocessor(self, batch: Any, training: bool) -> Any:
        assert not training
        return batch


class Loader(list):
    dataset = SimpleNamespace(metainfo=dict(classes=('a', 'b')))


def runner_of(model: Any, batches: int = 3, **more: Any) -> Any:
    def sample() -> DetDataSample:
        truth = InstanceData(bboxes=BOXES.clone(), labels=LABELS.clone())
        return DetDataSample(gt_instances=truth)

    loader = Loader(
        dict(inputs=torch.zeros(2, 3, 8, 8), data_samples=[sample(), sample()])
        for _ in range(batches)
    )
    given = dict(
        model=model,
        iter=0,
        logger=logging.getLogger('test_teacher_check'),
        val_loop=SimpleNamespace(dataloader=loader),
        _resume=True,
    )
    return SimpleNamespace(**{**given, **more})


def test_a_teacher_that_knows_is_logged(caplog) -> None:
    runner = runner_of(Distillation())
    state = torch.get_rng_state()
    with caplog.at_level('INFO', logger='test_teacher_check'):
        TeacherCheckHook(batches=2).before_train(runner)
    assert 'on 4 validation images: share of objects found 1.000' in (
        caplog.text
    )
    assert torch.equal(torch.get_rng_state(), state)


def test_classes_in_another_order_stop_the_run() -> None:
    with pytest.raises(ConfigError) as caught:
        TeacherCheckHook().before_train(runner_of(Distillation(knows=False)))
    message = str(caught.value)
    assert 'hardly better than chance' in message
    assert 'share of objects found 0.000 on 6 images' in message
    assert 'where:   model.teacher_ckpt' in message
    assert "got:     'teacher.pth'" in message
    assert 'classes and their order' in message
    assert 'default_hooks.teacher_check' in message


@pytest.mark.parametrize(
    ('hook', 'model', 'more'),
    [
        (dict(enabled=False), Distillation(knows=False), {}),
        (dict(batches=0), Distillation(knows=False), {}),
        (dict(min_found=0.0), Distillation(knows=False), {}),
        (dict(), Distillation(knows=False, untrained=True), {}),
        (dict(), Distillation(knows=False), dict(iter=5)),
        (dict(), Distillation(knows=False), dict(val_loop=None)),
        (dict(), nn.Linear(1, 1), {}),
    ],
)
def test_what_is_not_to_be_checked_is_not(hook, model, more) -> None:
    runner = runner_of(model, **more)
    assert TeacherCheckHook(**hook).before_train(runner) is None


def test_no_annotations_warn(caplog) -> None:
    TeacherCheckHook().before_train(runner_of(Distillation(), batches=0))
    assert 'no annotations to compare with' in caplog.text


@pytest.mark.parametrize(
    'option',
    [dict(batches=-1), dict(min_found=1.5), dict(min_over_chance=0.5)],
)
def test_options_are_checked(option) -> None:
    with pytest.raises(ConfigError, match=next(iter(option))):
        TeacherCheckHook(**option)


def test_resuming_with_another_teacher_is_refused() -> None:
    checkpoint: dict[str, Any] = dict(meta={})
    TeacherCheckHook().before_save_checkpoint(
        runner_of(Distillation()), checkpoint
    )
    same, other = runner_of(Distillation()), runner_of(Distillation())
    TeacherCheckHook().after_load_checkpoint(same, checkpoint)
    with torch.no_grad():
        other.model.teacher.weight[1] += 1e-6
    with pytest.raises(ConfigError, match='another teacher') as caught:
        TeacherCheckHook().after_load_checkpoint(other, checkpoint)
    assert weights_hash(same.model.teacher)[:12] in str(caught.value)
    assert 'load_from' in str(caught.value)
    # Weights may be taken over by a training that starts anew.
    other._resume = False
    TeacherCheckHook().after_load_checkpoint(other, checkpoint)


def test_checkpoints_without_a_hash_are_taken() -> None:
    hook = TeacherCheckHook()
    assert hook.after_load_checkpoint(runner_of(Distillation()), {}) is None


def test_the_hash_is_of_names_and_values() -> None:
    one, two = nn.Linear(2, 2), nn.Linear(2, 2)
    two.load_state_dict(one.state_dict())
    assert weights_hash(one) == weights_hash(two)
    assert weights_hash(nn.Sequential(one)) != weights_hash(two)
    two.half()
    assert weights_hash(one) != weights_hash(two)


@pytest.mark.parametrize(
    'found', [3, ['a'], {}, np.arange(3), torch.zeros(2)], ids=repr
)
def test_a_hash_that_is_none_is_another_teachers(found: Any) -> None:
    runner = runner_of(Distillation())
    checkpoint: dict[str, Any] = dict(meta={})
    TeacherCheckHook().before_save_checkpoint(runner, checkpoint)
    (key,) = checkpoint['meta']
    checkpoint['meta'][key] = found
    with pytest.raises(ConfigError, match='another teacher'):
        TeacherCheckHook().after_load_checkpoint(runner, checkpoint)
    for meta in (None, [1], 'x'):
        TeacherCheckHook().after_load_checkpoint(runner, dict(meta=meta))
