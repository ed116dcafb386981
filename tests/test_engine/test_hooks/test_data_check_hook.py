"""Test that data which teach nothing stop a training before its first step."""

from __future__ import annotations

import json
import logging
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmdet.datasets import CocoDataset
from mmdet.models import DetDataPreprocessor
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn

from mmtst.engine.hooks import data_check_hook
from mmtst.engine.hooks.data_check_hook import DataCheckHook
from mmtst.engine.hooks.policy_search_hook import PolicySearchHook
from mmtst.engine.seeded_samples import SeededDataset
from mmtst.testing.coco import write_tiny_coco
from mmtst.utils.errors import ConfigError

ROOT = Path(__file__).parents[3]
ANNOTATIONS = 'annotations/instances_train2017.json'
LOGGER = logging.getLogger('test_data_check')


class Model(nn.Module):
    """Have a head of so many classes, and maybe a teacher."""

    def __init__(self, classes: int = 80, teacher: int | None = None) -> None:
        super().__init__()
        self.bbox_head = nn.Module()
        self.bbox_head.num_classes = classes
        if teacher is not None:
            self.student = Model(classes)
            self.teacher = Model(teacher)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_tiny_coco(tmp_path / 'data', {'train2017': 4})


def runner_of(root: Path, model: nn.Module, hooks: Any = ()) -> Any:
    with DefaultScope.overwrite_default_scope('mmdet'):
        dataset = CocoDataset(
            data_root=str(root),
            ann_file=ANNOTATIONS,
            data_prefix=dict(img='train2017/'),
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='LoadAnnotations', with_bbox=True),
                dict(type='RandomFlip', prob=0.5),
                dict(type='PackDetInputs'),
            ],
        )
    loader = SimpleNamespace(dataset=dataset)
    return SimpleNamespace(
        model=model,
        train_loop=SimpleNamespace(dataloader=loader),
        hooks=list(hooks),
        logger=LOGGER,
    )


def rewrite(root: Path, **fields: Any) -> None:
    path = root / ANNOTATIONS
    content = json.loads(path.read_text())
    for annotation in content['annotations']:
        annotation.update(fields)
    path.write_text(json.dumps(content))


def test_good_data_are_summed_up_and_draw_nothing(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    runner = runner_of(root, Model())
    states = random.getstate(), np.random.get_state()[1].tolist()
    torch_state = torch.get_rng_state()
    with caplog.at_level(logging.INFO):
        DataCheckHook().before_train(runner)
    assert '4 images, 4 with objects; 12 objects' in caplog.text
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states
    assert torch.equal(torch.get_rng_state(), torch_state)


def test_areas_of_zero_are_refused(root: Path) -> None:
    rewrite(root, area=0)
    with pytest.raises(ConfigError, match='no image of the built data set'):
        DataCheckHook().before_train(runner_of(root, Model()))
    DataCheckHook(enabled=False).before_train(runner_of(root, Model()))


@pytest.mark.parametrize('kind', [KeyError, ConfigError])
def test_a_failure_of_the_first_process_reaches_all(
    root: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    """Or the others wait for ever."""
    sent: list[Any] = []
    monkeypatch.setattr(data_check_hook, 'broadcast_object_list', sent.append)

    def fail(*_: Any) -> Any:
        raise kind('broken')

    monkeypatch.setattr(data_check_hook, 'count_data', fail)
    with pytest.raises(kind, match='broken'):
        DataCheckHook().before_train(runner_of(root, Model()))
    ((said,),) = sent
    assert 'broken' in said
    # The others look at nothing, and are told.
    monkeypatch.setattr(data_check_hook, 'is_main_process', lambda: False)
    monkeypatch.setattr(
        data_check_hook,
        'broadcast_object_list',
        lambda outcome: outcome.__setitem__(0, said),
    )
    with pytest.raises(ConfigError, match='broken'):
        DataCheckHook().before_train(runner_of(root, Model()))


def test_the_channels_that_the_model_normalizes_are_compared(
    root: Path,
) -> None:
    model = Model()
    model.data_preprocessor = nn.Module()
    model.data_preprocessor.register_buffer('mean', torch.zeros(4, 1, 1))
    with pytest.raises(ConfigError, match='number of channels'):
        DataCheckHook().before_train(runner_of(root, model))
    model.data_preprocessor = DetDataPreprocessor(
        mean=[0.0] * 3, std=[1.0] * 3
    )
    DataCheckHook().before_train(runner_of(root, model))


def test_the_look_is_the_same_at_each_start_and_through_exact_resume(
    root: Path,
) -> None:
    drawn: list[Any] = []

    class Draw:
        def __call__(self, results: Any) -> Any:
            drawn.append((random.random(), float(np.random.rand())))
            return results

    runner = runner_of(root, Model())
    runner.train_loop.dataloader.dataset.pipeline.transforms.append(Draw())
    DataCheckHook().before_train(runner)
    first = list(drawn)
    drawn.clear()
    random.seed(5)
    loader = runner.train_loop.dataloader
    loader.dataset = SeededDataset(loader.dataset)
    DataCheckHook().before_train(runner)
    assert first == drawn != []


def test_a_student_of_other_classes_is_refused(root: Path) -> None:
    for model in (Model(5), Model(5, teacher=80)):
        with pytest.raises(ConfigError, match=r'num_classes'):
            DataCheckHook().before_train(runner_of(root, model))


def test_a_teacher_of_other_classes_gives_features_but_no_search(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    runner = runner_of(root, Model(80, teacher=91))
    DataCheckHook().before_train(runner)
    assert 'only features can be compared' in caplog.text
    runner.hooks = [PolicySearchHook(at=[0], iterations=2)]
    with pytest.raises(ConfigError, match=r'model\.teacher\.bbox_head'):
        DataCheckHook().before_train(runner)


@pytest.mark.parametrize('source', [None, 'bbox_head.cls', 'neck'])
def test_a_teacher_that_learned_another_order_gives_features_alone(
    root: Path, caplog: pytest.LogCaptureFixture, source: str | None
) -> None:
    model = Model(80, teacher=80)
    names = CocoDataset.METAINFO['classes']
    model.teacher.dataset_meta = dict(classes=names[::-1])
    if source is not None:
        recorders = dict(x=SimpleNamespace(source=source))
        model.distiller = SimpleNamespace(
            teacher_recorders=SimpleNamespace(recorders=recorders)
        )
    runner = runner_of(root, model)
    if source == 'neck':
        DataCheckHook().before_train(runner)
        assert 'another order' in caplog.text
        runner.hooks = [PolicySearchHook(at=[0], iterations=2)]
    with pytest.raises(ConfigError, match='another order'):
        DataCheckHook().before_train(runner)


@pytest.mark.parametrize(
    'options', [dict(images=-1), dict(images=1.5), dict(enabled='yes')]
)
def test_impossible_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        DataCheckHook(**options)


@pytest.mark.parametrize('task', ['det', 'seg', 'cls'])
def test_all_our_runtimes_look(task: str) -> None:
    cfg = Config.fromfile(ROOT / f'configs/_base_/{task}_runtime.py')
    assert cfg.default_hooks.data_check.type == 'mmtst.DataCheckHook'
