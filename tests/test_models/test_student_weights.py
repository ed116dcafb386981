"""Test what a distillation takes over from a student's own checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.runner import load_checkpoint
from mmengine.runner.checkpoint import load_state_dict

from mmtst.models.build import build_model
from mmtst.registry import MODELS
from mmtst.testing.detection import tiny_retinanet
from mmtst.utils.errors import ConfigError


def build(kind: str = 'TSTDistill', width: int = 8) -> Any:
    head = dict(type='ModuleOutputs', source='bbox_head.retina_cls')
    return MODELS.build(
        dict(
            _scope_='mmrazor',
            type=f'mmtst.{kind}',
            architecture=tiny_retinanet(width),
            teacher=tiny_retinanet(16),
            untrained_teacher=True,
            distiller=dict(
                type='mmtst.DataAugmentationDistiller',
                student_recorders=dict(head=head),
                teacher_recorders=dict(head=head),
                distill_losses=dict(loss_kl=dict(type='mmtst.DenseKLLoss')),
                loss_forward_mappings=dict(
                    loss_kl=dict(
                        preds_S=dict(from_student=True, recorder='head'),
                        preds_T=dict(from_student=False, recorder='head'),
                    )
                ),
            ),
        )
    )


def weights(width: int = 8) -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return build_model(tiny_retinanet(width), 'model').state_dict()


@pytest.fixture(scope='module')
def model() -> Any:
    return build()


def assert_has(model: Any, wanted: dict[str, torch.Tensor]) -> None:
    own = model.student.state_dict()
    assert own.keys() == wanted.keys()
    for name, value in wanted.items():
        assert torch.equal(own[name], value), name


@pytest.mark.parametrize('wrapper', ['', 'module.'])
def test_a_plain_students_checkpoint_is_loaded_into_the_student(
    model: Any,
    tmp_path: Path,
    wrapper: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plain = weights()
    policy = torch.linspace(-1, 1, 14)
    model.augmentation.th_p.copy_(policy)
    path = tmp_path / 'student.pth'
    given = {f'{wrapper}{k}': v for k, v in plain.items()}
    torch.save(dict(state_dict=given), path)
    # As mmengine's runner does for load_from.
    load_checkpoint(model, str(path), map_location='cpu')
    assert_has(model, plain)
    assert torch.equal(model.augmentation.th_p, policy)
    assert 'missing keys' not in capsys.readouterr().out


def test_the_baselines_take_it_too() -> None:
    model = build('TeacherStudentDistill')
    load_state_dict(model, weights())
    assert_has(model, weights())


@pytest.mark.parametrize('width', [8, 16], ids=['names', 'shapes'])
def test_what_is_neither_is_refused_and_changes_nothing(
    model: Any, width: int
) -> None:
    before = {k: v.clone() for k, v in model.student.state_dict().items()}
    given = weights(width)
    if width == 8:
        given['bbox_head.more.weight'] = torch.zeros(1)
    with pytest.raises(ConfigError, match='does not fit RetinaNet') as caught:
        load_state_dict(model, given)
    assert 'load_from' in str(caught.value)
    assert_has(model, before)


def test_another_pairs_distillation_is_refused(model: Any) -> None:
    other = build(width=16).state_dict()
    with pytest.raises(ConfigError, match='the student of the checkpoint'):
        load_state_dict(model, other)


def test_a_distillation_by_another_method_gives_its_student(
    model: Any,
) -> None:
    baseline = build('TeacherStudentDistill')
    load_state_dict(model, baseline.state_dict())
    assert_has(model, baseline.student.state_dict())


def test_weights_that_are_not_finite_are_refused(model: Any) -> None:
    broken = weights()
    broken['bbox_head.retina_cls.bias'][0] = float('nan')
    with pytest.raises(ConfigError, match=r'not finite: bbox_head'):
        load_state_dict(model, broken)
    distilled = model.state_dict()
    distilled['architecture.bbox_head.retina_reg.bias'] = torch.full(
        (36,), float('inf')
    )
    with pytest.raises(ConfigError, match=r'not finite: bbox_head'):
        load_state_dict(model, distilled)


def test_what_is_no_state_dict_is_refused(model: Any) -> None:
    with pytest.raises(ConfigError, match='backbone is a str'):
        load_state_dict(model, {'backbone': 'resnet'})
