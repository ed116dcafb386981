"""Test that hooks of other packages reach the student, or are refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mmtst  # noqa: F401  isort: skip
import mmpretrain.engine
import numpy as np
import pytest
import torch
from mmdet.engine.hooks import NumClassCheckHook, SetEpochInfoHook
from mmengine.dataset import BaseDataset
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, HOOKS
from mmpretrain.engine.hooks import SwitchRecipeHook, WarmupParamHook

from mmtst.engine.foreign_hooks import check_foreign_hooks
from mmtst.models.distillers import DataAugmentationDistiller
from mmtst.registry import MODELS
from mmtst.testing.detection import detection_batch, tiny_yolox
from mmtst.utils.errors import ConfigError


def algorithm(
    student: dict[str, Any], teacher: dict[str, Any], source: str
) -> dict[str, Any]:
    recorders = dict(it=dict(type='ModuleOutputs', source=source))
    record = dict(recorder='it')
    if source == 'bbox_head':
        record['data_idx'] = 0
    loss = dict(type='mmtst.DenseKLLoss')
    return dict(
        _scope_='mmrazor',
        type='mmtst.TeacherStudentDistill',
        architecture=student,
        teacher=teacher,
        untrained_teacher=True,
        distiller=dict(
            type=f'mmtst.{DataAugmentationDistiller.__name__}',
            student_recorders=recorders,
            teacher_recorders=recorders,
            distill_losses=dict(loss=loss),
            loss_forward_mappings=dict(
                loss=dict(
                    preds_S=dict(from_student=True, **record),
                    preds_T=dict(from_student=False, **record),
                )
            ),
        ),
    )


def classifiers(student: str = 'ImageClassifier') -> Any:
    pair = [
        dict(
            _scope_='mmpretrain',
            type=kind,
            data_preprocessor=dict(mean=[0.0], std=[1.0], num_classes=5),
            backbone=dict(type='LeNet5'),
            head=dict(type='LinearClsHead', num_classes=5, in_channels=120),
        )
        for kind in (student, 'ImageClassifier')
    ]
    return MODELS.build(algorithm(*pair, source='head.fc'))


def runner_of(model: Any, *hooks: Any, epoch: int = 0) -> Any:
    return SimpleNamespace(
        model=model, hooks=list(hooks), epoch=epoch, max_epochs=4, max_iters=8
    )


@DATASETS.register_module()
class BoxSet(BaseDataset):
    """Give images with two boxes, and note which transforms to skip."""

    def __init__(self) -> None:
        self.skipped: tuple[str, ...] = ()
        super().__init__(serialize_data=False)

    def load_data_list(self) -> list[dict[str, Any]]:
        return [{'number': i} for i in range(4)]

    def update_skip_type_keys(self, keys: tuple[str, ...]) -> None:
        self.skipped = keys

    def prepare_data(self, idx: int) -> dict[str, Any]:
        _, samples = detection_batch(1, size=(64, 64))
        # An image that tells whether the transforms were skipped.
        image = np.random.randint(0, 128, (3, 64, 64), dtype=np.uint8)
        image += 100 * bool(self.skipped)
        return {'inputs': torch.from_numpy(image), 'data_samples': samples[0]}


@HOOKS.register_module()
class SeenHook(Hook):
    """Note what a step has logged."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, bool]] = []

    def after_train_iter(self, runner, batch_idx, data_batch, outputs) -> None:
        bright = float(data_batch['inputs'][0].float().mean()) > 100
        self.seen.append(
            (runner.epoch, 'student.loss_l1' in outputs and bright)
        )


@pytest.mark.parametrize('workers', [0, 1])
def test_yolox_switches_its_mode_and_resumes(
    make_runner, workers: int
) -> None:
    """The student gets its L1 loss and the data set other transforms."""

    def train(**more: Any) -> Any:
        runner = make_runner(
            None,
            model=algorithm(tiny_yolox(), tiny_yolox(), 'bbox_head'),
            train_dataloader={
                'dataset': {'type': 'BoxSet'},
                'sampler': {'type': 'DefaultSampler', 'shuffle': True},
                'batch_size': 2,
                'num_workers': workers,
                'persistent_workers': workers > 0,
            },
            default_hooks={
                'exact_resume': {'type': 'mmtst.ExactResumeHook'},
                'checkpoint': {'type': 'CheckpointHook', 'interval': 1},
            },
            custom_hooks=[
                {'type': 'SeenHook'},
                {'type': 'mmdet.YOLOXModeSwitchHook', 'num_last_epochs': 1},
            ],
            **more,
        )
        runner.train()
        return runner

    whole = train()
    [seen] = [hook.seen for hook in whole.hooks if hasattr(hook, 'seen')]
    assert seen == [(epoch, epoch > 0) for epoch in (0, 0, 1, 1, 2, 2)]
    assert whole.model.student.bbox_head.use_l1
    assert not whole.model.teacher.bbox_head.use_l1
    for stop in (1, 2):
        path = Path(whole.work_dir) / f'epoch_{stop}.pth'
        again = train(load_from=str(path), resume=True)
        state = again.model.state_dict()
        for name, value in whole.model.state_dict().items():
            assert torch.equal(value, state[name]), name


def test_the_student_is_told_its_epoch() -> None:
    model = classifiers()
    type(model.student).set_epoch = lambda self, epoch: told.append(epoch)
    told: list[int] = []
    try:
        SetEpochInfoHook().before_train_epoch(runner_of(model, epoch=3))
    finally:
        del type(model.student).set_epoch
    assert told == [3]


def test_hooks_of_mmpretrain_change_the_students_head() -> None:
    model = classifiers()
    assert mmpretrain.engine is not None
    loss = torch.nn.Linear(1, 1)
    SwitchRecipeHook._switch_loss(runner_of(model), loss)
    assert model.student.head.loss_module is loss
    assert model.teacher.head.loss_module is not loss
    hook = WarmupParamHook('cal_acc', 'head', warmup_epochs=2)
    runner = runner_of(model)
    runner.iter = 2
    hook.ori_val = 1.0
    hook.before_train_iter(runner, 2)
    assert model.student.head.cal_acc == 0.5
    assert model.teacher.head.cal_acc is False


def test_what_neither_has_is_missing_still() -> None:
    model = classifiers()
    assert not hasattr(model, 'bbox_head')
    assert not hasattr(model, 'module')
    with pytest.raises(AttributeError, match='TeacherStudentDistill'):
        model.no_such_thing  # noqa: B018


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('MeanTeacherHook', 'over the teacher'),
        ('DenseCLHook', 'attribute of the model itself'),
        ('SwAVHook', 'freezes parameters'),
        ('PrepareProtoBeforeValLoopHook', 'prototypes'),
        ('NumClassCheckHook', 'distiller.distill_losses.loss.num_classes'),
        ('ClassNumCheckHook', 'distiller.distill_losses.loss.num_classes'),
    ],
)
def test_hooks_that_do_something_else_are_refused(
    name: str, words: str
) -> None:
    class Derived(type(name, (Hook,), {})):  # type: ignore[misc]
        pass

    with pytest.raises(ConfigError, match=name) as caught:
        check_foreign_hooks(runner_of(classifiers(), Derived()))
    assert words in str(caught.value)
    assert 'take it out of custom_hooks' in str(caught.value)


def test_a_loss_of_the_student_itself_is_not_switched() -> None:
    model = classifiers()
    hook = SwitchRecipeHook([dict(action_epoch=1, loss=torch.nn.Identity())])
    check_foreign_hooks(runner_of(model, hook))
    model.student.loss_module = torch.nn.Identity()
    with pytest.raises(ConfigError, match='leave loss out'):
        check_foreign_hooks(runner_of(model, hook))


def test_equal_counts_and_models_without_a_teacher_are_left_alone() -> None:
    model = classifiers()
    hook = NumClassCheckHook()
    model.distiller.distill_losses.loss.num_classes = 5
    check_foreign_hooks(runner_of(model, hook))
    mean_teacher = type('MeanTeacherHook', (Hook,), {})()
    check_foreign_hooks(runner_of(model.student, mean_teacher))


@DATASETS.register_module()
class MarkedSet(BaseDataset):
    """Give samples that say how many transforms the pipeline has."""

    def __init__(self) -> None:
        super().__init__(serialize_data=False)

    def load_data_list(self) -> list[dict[str, Any]]:
        return [{'number': float(i)} for i in range(12)]

    def prepare_data(self, idx: int) -> dict[str, Any]:
        mark = float(len(self.pipeline.transforms))
        return {'inputs': torch.tensor([float(idx), mark]), 'data_samples': 0}


OTHER = [{'type': 'Resize', 'scale': (8, 8)}]
SWITCHES = {
    'mmdet': {
        'type': 'mmdet.PipelineSwitchHook',
        'switch_epoch': 1,
        'switch_pipeline': OTHER,
    },
    'mmpretrain': {
        'type': 'mmpretrain.SwitchRecipeHook',
        'schedule': [{'action_epoch': 2, 'train_pipeline': OTHER}],
    },
}


@pytest.mark.parametrize('package', ['mmdet', 'mmpretrain'])
@pytest.mark.parametrize('workers', [0, 1])
def test_a_search_sees_the_pipeline_of_its_epoch(
    make_runner, package: str, workers: int
) -> None:
    """Also where the training is resumed, at the switch or after it."""

    def marks(**more: Any) -> tuple[Any, list[float]]:
        runner = make_runner(
            None,
            train_dataloader={
                'dataset': {'type': 'MarkedSet'},
                'sampler': {'type': 'DefaultSampler', 'shuffle': True},
                'batch_size': 3,
                'num_workers': workers,
                'persistent_workers': workers > 0,
            },
            default_hooks={
                'exact_resume': {'type': 'mmtst.ExactResumeHook'},
                'checkpoint': {'type': 'CheckpointHook', 'interval': 1},
            },
            custom_hooks=[
                {
                    'type': 'mmtst.PolicySearchHook',
                    'at': [0, 1, 2],
                    'iterations': 1,
                    'report_batches': 0,
                    'probe': False,
                },
                SWITCHES[package],
            ],
            **more,
        )
        runner.train()
        found = [e.inputs[1] for e in runner.model.evaluations]
        return runner, found

    whole, found = marks()
    assert found == [0.0, 1.0, 1.0]
    for stop in (1, 2):
        path = str(Path(whole.work_dir) / f'epoch_{stop}.pth')
        again, found = marks(load_from=path, resume=True)
        assert found == [1.0] * (3 - stop)
        for name, value in whole.model.state_dict().items():
            assert torch.equal(value, again.model.state_dict()[name]), name


def test_a_switch_that_would_come_after_the_search_is_refused(
    make_runner,
) -> None:
    late = {**SWITCHES['mmdet'], 'priority': 'LOW'}
    search = {'type': 'mmtst.PolicySearchHook', 'at': [1], 'probe': False}
    runner = make_runner(None, custom_hooks=[search, late])
    with pytest.raises(ConfigError, match='leave priority out'):
        runner.train()
