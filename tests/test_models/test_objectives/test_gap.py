from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import Tensor, nn

from mmtst.models.objectives.gap import GapObjective
from mmtst.models.objectives.gap_result import PARTS, GapResult
from mmtst.models.objectives.inversion import resolve_losses
from mmtst.models.objectives.task_losses import task_losses
from mmtst.models.utils import frozen_parameters, frozen_statistics
from mmtst.registry import MODELS
from mmtst.testing.detection import positives_loss
from mmtst.testing.toys import (
    ToyFunctional,
    logits_of,
    toy,
    toy_inputs,
)
from mmtst.utils.errors import ConfigError

Build = Callable[..., nn.Module]
MakeBatch = Callable[..., tuple[Tensor, list[Any]]]

SIZES = [(96, 128), (80, 112)]
BOXES = [
    [[8.0, 8.0, 60.0, 70.0], [50.0, 30.0, 120.0, 90.0]],
    [[20.0, 10.0, 90.0, 75.0]],
]
CLASSES = [[0, 2], [1]]


def run(
    objective: GapObjective,
    teacher: nn.Module,
    student: nn.Module,
    inputs: Tensor,
    samples: Any,
) -> GapResult:
    with (
        frozen_statistics(teacher, student),
        frozen_parameters(teacher, student),
    ):
        result: GapResult = objective(teacher, student, inputs, samples)
    return result


# Options -------------------------------------------------------------------


@pytest.mark.parametrize(
    ('options', 'where'),
    [
        (dict(alpha=-1), 'model.objective.alpha'),
        (dict(alpha=float('nan')), 'model.objective.alpha'),
        (dict(beta='1'), 'model.objective.beta'),
        (dict(beta=True), 'model.objective.beta'),
        (dict(weights=dict(T_mask=1)), 'model.objective.weights'),
        (dict(weights=dict(T_cls=-1)), 'model.objective.weights.T_cls'),
        (dict(box_scale=0), 'model.objective.box_scale'),
        (dict(box_scale=float('inf')), 'model.objective.box_scale'),
        (dict(mode='paper'), 'model.objective.mode'),
        (dict(on_escape='ignore'), 'model.objective.on_escape'),
        (dict(average='pixels'), 'model.objective.average'),
        (dict(right_score=1.5), 'model.objective.right_score'),
        (
            dict(teacher_roi_losses='no'),
            'model.objective.teacher_roi_losses',
        ),
    ],
)
def test_wrong_options_say_where(options: dict[str, Any], where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        GapObjective(**options)
    assert f'where:   {where}\n' in str(caught.value)


def test_it_builds_from_a_config() -> None:
    objective = MODELS.build(
        dict(type='GapObjective', alpha=0.5, weights=dict(S_box=0.1))
    )
    assert isinstance(objective, GapObjective)
    assert objective.weights == dict(T_cls=1, T_box=1, S_cls=1, S_box=0.1)
    assert not list(objective.parameters())


# The sum -------------------------------------------------------------------


def test_the_objective_by_its_formula() -> None:
    teacher, student = toy([1, 0]), toy([1, 1])
    inputs = toy_inputs()
    weights = dict(T_cls=2.0, T_box=3.0, S_cls=5.0, S_box=7.0)
    result = GapObjective(alpha=0.5, beta=1.5, weights=weights)(
        teacher, student, inputs, []
    )
    shift = inputs.detach().mean()
    losses = task_losses(teacher(inputs.detach(), [], mode='loss'))
    expected = dict(
        T_cls=2.0 * losses['loss_cls'],
        T_box=3.0 * losses['loss_bbox'],
        T_other=torch.zeros(()),
        S_cls=5.0 * F.softplus(student.logits[:, 0] + shift).mean(),
        S_box=7.0 * -(1 - torch.exp(-4 * (1 - shift))),
        S_other=torch.zeros(()),
    )
    assert tuple(result.parts) == PARTS
    for name, value in expected.items():
        assert result.parts[name].item() == pytest.approx(
            value.item(), abs=1e-12
        ), name
        assert not result.parts[name].requires_grad
    total = sum(
        (0.5 if name[0] == 'T' else 1.5) * value.item()
        for name, value in expected.items()
    )
    assert result.total.item() == pytest.approx(total)


def test_it_also_measures_without_gradients() -> None:
    arguments = (toy([1, 0]), toy([0, 1]), toy_inputs().detach(), [])
    with_graph = GapObjective()(*arguments)
    with torch.no_grad():
        without = GapObjective()(*arguments)
        assert not torch.is_grad_enabled()
    assert not without.total.requires_grad
    assert without.total.item() == pytest.approx(with_graph.total.item())
    assert without.gap_rate == with_graph.gap_rate
    assert set(without.part_gradients([]).values()) == {0.0}
    for name in PARTS:
        assert without.parts[name] == with_graph.parts[name]


# Losses that escape --------------------------------------------------------


@pytest.mark.parametrize('mode', ['default', 'official'])
def test_an_escaping_loss_is_named_with_what_to_do(mode: str) -> None:
    student = ToyFunctional(logits_of([1]), torch.tensor([0]))
    with pytest.raises(ConfigError) as caught:
        GapObjective(mode=mode)(toy([1]), student, toy_inputs(), [])
    message = str(caught.value)
    assert 'loss_aux = 0.01' in message
    assert 'loss_cls' not in message
    assert 'student (ToyFunctional)' in message
    assert 'register_inversion' in message
    assert "on_escape='bounded_negative'" in message


@pytest.mark.parametrize('mode', ['default', 'official'])
def test_what_escapes_can_be_bounded(mode: str) -> None:
    inputs = toy_inputs()
    student = ToyFunctional(logits_of([1]), torch.tensor([0]))
    plain = GapObjective(mode=mode)(toy([1]), toy([1]), inputs, [])
    result = GapObjective(mode=mode, on_escape='bounded_negative')(
        toy([1]), student, inputs, []
    )
    assert result.parts['S_other'].item() == pytest.approx(
        -(1 - math.exp(-0.01))
    )
    assert result.total.item() == pytest.approx(
        plain.total.item() + result.parts['S_other'].item()
    )
    assert result.part_gradients([inputs])['S_other'] > 0


def test_a_teachers_functional_loss_counts_in_full() -> None:
    teacher = ToyFunctional(logits_of([1]), torch.tensor([0]))
    result = GapObjective()(teacher, toy([1]), toy_inputs(), [])
    assert result.parts['T_other'].item() == pytest.approx(0.01)


def test_an_unknown_loss_of_a_real_head_is_named(
    build_small: Build, make_batch: MakeBatch
) -> None:
    student = build_small(
        'retinanet', bbox_head=dict(loss_bbox=dict(type='BalancedL1Loss'))
    )
    inputs, samples = make_batch(SIZES, BOXES, CLASSES)
    teacher = build_small('retinanet', seed=1)
    for attempt in (
        lambda: GapObjective().check(student),
        lambda: run(GapObjective(), teacher, student, inputs, samples),
    ):
        with pytest.raises(ConfigError) as caught:
            attempt()
        assert 'loss_bbox' in str(caught.value)
        assert 'student.bbox_head.loss_bbox' in str(caught.value)
        assert 'BalancedL1Loss' in str(caught.value)
    objective = GapObjective(on_escape='bounded_negative')
    objective.check(student)
    result = run(objective, teacher, student, inputs, samples)
    assert -1 < result.parts['S_other'].item() < 0
    assert result.parts['S_box'].item() == 0.0


# Real detectors ------------------------------------------------------------


@pytest.mark.parametrize('family', ['retinanet', 'fcos', 'faster_rcnn'])
@pytest.mark.parametrize('mode', ['default', 'official'])
def test_a_real_pair_leaves_no_trace(
    family: str, mode: str, build_small: Build, make_batch: MakeBatch
) -> None:
    teacher, student = build_small(family, 1), build_small(family, 2)
    student.eval()
    before = [
        {k: v.clone() for k, v in model.state_dict().items()}
        for model in (teacher, student)
    ]
    flags = [m.training for m in (*teacher.modules(), *student.modules())]
    inputs, samples = make_batch(SIZES, BOXES, CLASSES)
    boxes = [s.gt_instances.bboxes.clone() for s in samples]
    inputs.requires_grad_()
    result = run(GapObjective(mode=mode), teacher, student, inputs, samples)
    (slope,) = torch.autograd.grad(result.total, inputs)
    assert result.total.isfinite()
    assert slope.isfinite().all()
    assert slope.any()
    assert result.positives > 0
    # RoIs are sampled for each model, so theirs are not the same positives.
    assert (result.gap_rate is None) == (family == 'faster_rcnn')
    for model, state in zip((teacher, student), before, strict=True):
        for name, value in model.state_dict().items():
            assert torch.equal(value, state[name]), name
        assert all(p.grad is None for p in model.parameters())
        assert any(p.requires_grad for p in model.parameters())
        assert not any(m._forward_hooks for m in model.modules())
    assert flags == [
        m.training for m in (*teacher.modules(), *student.modules())
    ]
    for sample, box in zip(samples, boxes, strict=True):
        assert torch.equal(sample.gt_instances.bboxes, box)


def test_the_teachers_parts_sum_to_its_loss(
    build_small: Build, make_batch: MakeBatch
) -> None:
    teacher, student = build_small('fcos', 1), build_small('fcos', 2)
    inputs, samples = make_batch(SIZES, BOXES, CLASSES)
    result = run(GapObjective(), teacher, student, inputs, samples)
    with frozen_statistics(teacher), torch.no_grad():
        losses = teacher(inputs, samples, mode='loss')
        total, log = teacher.parse_losses(losses)
    assert result.parts['T_cls'].item() == pytest.approx(
        (log['loss_cls'] + log['loss_centerness']).item(), rel=1e-5
    )
    assert result.parts['T_box'].item() == pytest.approx(
        log['loss_bbox'].item(), rel=1e-5
    )
    assert result.parts['T_other'].item() == pytest.approx(0, abs=1e-4)
    parts = sum(result.parts[n].item() for n in ('T_cls', 'T_box', 'T_other'))
    assert parts == pytest.approx(total.item(), rel=1e-6)


@pytest.mark.parametrize('kept', [True, False])
@pytest.mark.parametrize('mode', ['default', 'official'])
def test_a_two_stage_teacher_with_and_without_its_roi_losses(
    kept: bool, mode: str, build_small: Build, make_batch: MakeBatch
) -> None:
    teacher, student = (build_small('faster_rcnn', seed) for seed in (1, 2))
    inputs, samples = make_batch(SIZES, BOXES, CLASSES)
    inputs.requires_grad_()
    objective = GapObjective(mode=mode, teacher_roi_losses=kept)
    objective.check(student, teacher)
    torch.manual_seed(0)  # RoIs are sampled
    result = run(objective, teacher, student, inputs, samples)
    torch.manual_seed(0)
    with frozen_statistics(teacher), torch.no_grad():
        losses = task_losses(teacher(inputs, samples, mode='loss'))
    assert len(losses) == 4
    cls, box = losses['loss_rpn_cls'], losses['loss_rpn_bbox']
    if kept:
        cls, box = cls + losses['loss_cls'], box + losses['loss_bbox']
    assert result.parts['T_cls'].item() == pytest.approx(cls.item(), rel=1e-5)
    assert result.parts['T_box'].item() == pytest.approx(box.item(), rel=1e-5)
    assert result.parts['T_other'].item() == pytest.approx(0, abs=1e-5)
    assert result.gap_rate is None
    assert result.teacher_right is not None
    # The student's side has both stages in either case.
    assert result.parts['S_cls'] != 0
    slopes = torch.autograd.grad(result.total, inputs)[0]
    assert slopes.isfinite().all()
    assert slopes.any()


def test_a_teacher_without_roi_losses_cannot_leave_them_out(
    build_small: Build, make_batch: MakeBatch
) -> None:
    teacher, student = build_small('retinanet', 1), build_small('retinanet', 2)
    objective = GapObjective(teacher_roi_losses=False)
    objective.check(student)
    with pytest.raises(ConfigError, match='no RoI head'):
        objective.check(student, teacher)
    batch = make_batch(SIZES, BOXES, CLASSES)
    with pytest.raises(ConfigError, match='no RoI head'):
        run(objective, teacher, student, *batch)
    GapObjective().check(student, teacher)


def test_the_students_parts_follow_the_formula(
    build_small: Build, make_batch: MakeBatch
) -> None:
    """From RetinaNet's own outputs and targets, one anchor at a time."""
    teacher, student = build_small('retinanet', 1), build_small('retinanet', 2)
    inputs, samples = make_batch(SIZES, BOXES, CLASSES)
    seen: dict[str, list[tuple[Any, Any]]] = {'cls': [], 'bbox': []}

    def keep(name: str) -> Callable[..., None]:
        return lambda module, args, kwargs, output: seen[name].append(args)

    head = student.bbox_head
    handles = [
        head.loss_cls.register_forward_hook(keep('cls'), with_kwargs=True),
        head.loss_bbox.register_forward_hook(keep('bbox'), with_kwargs=True),
    ]
    with frozen_statistics(student), torch.no_grad():
        student(inputs, samples, mode='loss')
    for handle in handles:
        handle.remove()
    cls, box = [], []
    for scores, labels, _ in seen['cls']:
        for row, label in zip(scores, labels.tolist(), strict=True):
            if label < 3:
                cls.append(-math.log(1 - row[label].sigmoid().item()))
    for pred, target, weight in seen['bbox']:
        for p, t, w in zip(pred, target, weight, strict=True):
            if w.any():
                loss = (p - t).abs().sum().item()
                box.append(-(1 - math.exp(-loss)))
    result = run(GapObjective(), teacher, student, inputs, samples)
    assert len(cls) == len(box) == result.positives > 10
    assert result.parts['S_cls'].item() == pytest.approx(
        sum(cls) / len(cls), rel=1e-4
    )
    assert result.parts['S_box'].item() == pytest.approx(
        sum(box) / len(box), rel=1e-4
    )


@pytest.mark.parametrize('mode', ['default', 'official'])
def test_the_gradient_agrees_with_finite_differences(
    mode: str, build_small: Build, make_batch: MakeBatch
) -> None:
    teacher = build_small('retinanet', 1).double()
    student = build_small('retinanet', 2).double()
    inputs, samples = make_batch([(64, 96)], [BOXES[0]], [CLASSES[0]])
    inputs = inputs.double()
    weights = dict(T_cls=0.01, S_cls=3.0, S_box=5.0)
    objective = GapObjective(mode=mode, weights=weights)
    leaf = inputs.clone().requires_grad_()
    result = run(objective, teacher, student, leaf, samples)
    assert result.total.dtype == torch.float64
    (slope,) = torch.autograd.grad(result.total, leaf)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        step = torch.randn(
            inputs.shape, generator=generator, dtype=torch.float64
        )
        step = 1e-6 * step / step.norm()
        ahead, behind = (
            run(objective, teacher, student, inputs + s, samples).total
            for s in (step, -step)
        )
        measured = (ahead - behind).item() / 2e-6
        assert measured == pytest.approx(
            (slope * step).sum().item() / 1e-6, rel=1e-4, abs=1e-9
        )


def test_a_descent_step_helps_the_teacher_and_hurts_the_student(
    build_small: Build, make_batch: MakeBatch
) -> None:
    teacher, student = build_small('retinanet', 1), build_small('retinanet', 2)
    inputs, samples = make_batch(SIZES, BOXES, CLASSES)
    for alpha, beta, model, sign in ((1, 0, teacher, -1), (0, 1, student, 1)):
        leaf = inputs.clone().requires_grad_()
        objective = GapObjective(alpha=alpha, beta=beta)
        result = run(objective, teacher, student, leaf, samples)
        (slope,) = torch.autograd.grad(result.total, leaf)
        moved = inputs - 0.5 * slope / slope.norm()
        with frozen_statistics(model), torch.no_grad():
            before, after = (
                positives_loss(model, x, samples) for x in (inputs, moved)
            )
        assert sign * (after - before) > 0


@pytest.mark.parametrize('family', ['retinanet', 'atss'])
@pytest.mark.parametrize('mode', ['default', 'official'])
@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_a_diverged_student_gives_an_objective_that_is_not_finite(
    family: str,
    mode: str,
    value: float,
    build_small: Build,
    make_batch: MakeBatch,
) -> None:
    """It is no loss that escapes; the search restores its policy then."""
    if (family, mode) == ('atss', 'official'):
        pytest.skip('the official mode has no inversion of ATSS losses')
    teacher, student = build_small(family, 1), build_small(family, 2)
    with torch.no_grad():
        for parameter in student.bbox_head.parameters():
            parameter.fill_(value)
    inputs, samples = make_batch(SIZES, BOXES, CLASSES)
    result = run(GapObjective(mode=mode), teacher, student, inputs, samples)
    assert not bool(result.total.isfinite())


def test_images_without_objects_stay_finite(
    build_small: Build, make_batch: MakeBatch
) -> None:
    inputs, samples = make_batch(SIZES, [[], []], [[], []])
    inputs.requires_grad_()
    for family in ('retinanet', 'fcos', 'faster_rcnn'):
        teacher, student = build_small(family, 1), build_small(family, 2)
        result = run(GapObjective(), teacher, student, inputs, samples)
        (slope,) = torch.autograd.grad(result.total, inputs)
        assert result.positives == 0
        assert result.parts['S_cls'].item() == 0.0
        assert result.parts['S_box'].item() == 0.0
        assert slope.isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ('family', 'sets'),
    [
        ('retinanet', 1),
        ('fcos', 2),
        ('faster_rcnn', 6),
        ('mask_rcnn', 2),
        ('cascade_rcnn', 2),
        ('gfl', 1),
        ('atss', 1),
        ('reppoints', 1),
    ],
)
def test_every_config_resolves_and_one_of_each_set_of_losses_takes_a_step(
    family: str,
    sets: int,
    config_root: Path,
    build_config: Build,
    make_batch: MakeBatch,
) -> None:
    """Build all as they are; of each set of losses step the smallest."""
    smallest: dict[Any, tuple[int, Any]] = {}
    seen: set[str] = set()
    for file in sorted((config_root / family).glob('*.py')):
        config = Config.fromfile(file)
        if 'model' not in config:
            assert file.stem.endswith('_tta')
            continue
        if str(config.model) in seen:  # schedules differ, the model does not
            continue
        seen.add(str(config.model))
        with torch.device('meta'):
            model = build_config(config)
        losses = _set_of_losses(model)
        size = sum(p.numel() for p in model.parameters())
        if losses not in smallest or size < smallest[losses][0]:
            smallest[losses] = (size, config)
    assert len(smallest) == sets
    assert len(seen) >= 5
    images = 1 if 'rcnn' in family else 2  # group norms need 2 so small
    inputs, samples = make_batch(
        [(64, 64), (64, 64)][:images],
        [[[4.0, 6.0, 40.0, 60.0]], [[10.0, 20.0, 60.0, 50.0]]],
        [[0], [0]],
        masks=True,
    )
    inputs.requires_grad_()
    for _, config in smallest.values():
        teacher, student = build_config(config), build_config(config)
        GapObjective().check(student)
        result = run(GapObjective(), teacher, student, inputs, samples)
        (slope,) = torch.autograd.grad(result.total, inputs)
        assert result.total.isfinite()
        assert slope.isfinite().all()
        assert slope.any()
        assert result.positives > 0
        assert result.parts['S_cls'] > 0
        assert result.parts['S_box'] < 0


def _set_of_losses(model: nn.Module) -> Any:
    """Return a model's losses, by path, class and the flags that matter."""
    flags = ('use_sigmoid', 'use_mask', 'activated', 'mode')
    resolved = resolve_losses(model)
    assert {kind for _, _, kind in resolved} == {'cls', 'box'}
    return tuple(
        (path, name)
        + tuple(
            getattr(model.get_submodule(path), flag, None) for flag in flags
        )
        for path, name, _ in resolved
    )
