"""Test that student and teacher are compared on the very same RoIs."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from mmengine.model import BaseModel
from torch import nn

from mmtst.models.algorithms.shared_rois import SharedRoIs
from mmtst.models.build import build_model
from mmtst.registry import MODELS
from mmtst.testing.detection import (
    detection_batch,
    tiny_cascade_mask_rcnn,
    tiny_faster_rcnn,
    tiny_retinanet,
)
from mmtst.utils.errors import ConfigError

STANDARD = 'roi_head.bbox_head.fc_cls'
CASCADE = 'roi_head.bbox_head.0.fc_cls'


def recorder(source: str) -> dict[str, Any]:
    return dict(type='ModuleOutputs', source=source)


def distiller(student: str = STANDARD, teacher: str = STANDARD) -> Any:
    return dict(
        type='mmtst.DataAugmentationDistiller',
        student_recorders=dict(head=recorder(student)),
        teacher_recorders=dict(head=recorder(teacher)),
        distill_losses=dict(loss_kl=dict(type='mmtst.DenseKLLoss')),
        loss_forward_mappings=dict(
            loss_kl=dict(
                preds_S=dict(from_student=True, recorder='head'),
                preds_T=dict(from_student=False, recorder='head'),
            )
        ),
    )


def build(
    student: dict[str, Any] | None = None,
    teacher: dict[str, Any] | None = None,
    **options: Any,
) -> Any:
    torch.manual_seed(0)
    cfg = dict(
        _scope_='mmrazor',
        type='mmtst.TSTDistill',
        architecture=student or tiny_faster_rcnn(),
        teacher=teacher or tiny_faster_rcnn(16),
        untrained_teacher=True,
        distiller=distiller(),
        seed=0,
    )
    cfg.update(options)
    model = MODELS.build(cfg)
    model.init_weights()
    return model.train()


def changed(reference: dict[str, Any], **roi_head: Any) -> dict[str, Any]:
    """Return a reference with options of its RoI head put in."""
    reference = copy.deepcopy(reference)
    reference['cfg_options']['roi_head'].update(roi_head)
    return reference


def inputs_of(model: nn.Module, path: str, calls: list[Any]) -> None:
    model.get_submodule(path).register_forward_pre_hook(
        lambda _, args: calls.append(args)
    )


def outputs_of(model: nn.Module, path: str, calls: list[Any]) -> None:
    model.get_submodule(path).register_forward_hook(
        lambda _, args, output: calls.append(output)
    )


def total(losses: dict[str, Any]) -> torch.Tensor:
    return sum(
        sum(value) if isinstance(value, list) else value
        for name, value in losses.items()
        if 'loss' in name
    )


PAIRS = {
    'standard to standard': (
        tiny_faster_rcnn(),
        tiny_faster_rcnn(16, 16),
        STANDARD,
        STANDARD,
    ),
    'cascade to standard': (
        tiny_faster_rcnn(),
        tiny_cascade_mask_rcnn(16, 16),
        STANDARD,
        CASCADE,
    ),
    'standard to cascade': (
        tiny_cascade_mask_rcnn(),
        tiny_faster_rcnn(16, 16),
        CASCADE,
        STANDARD,
    ),
}


def without_masks(reference: dict[str, Any]) -> dict[str, Any]:
    return changed(reference, mask_head=None, mask_roi_extractor=None)


@pytest.mark.parametrize('name', PAIRS)
def test_both_see_the_same_rois_and_are_compared_on_them(name: str) -> None:
    student, teacher, student_source, teacher_source = PAIRS[name]
    if 'mask_head' in student['cfg_options']['roi_head']:
        student = without_masks(student)
    model = build(
        student, teacher, distiller=distiller(student_source, teacher_source)
    )
    seen: dict[str, list[Any]] = dict(s=[], t=[])
    scores: dict[str, list[Any]] = dict(s=[], t=[])
    kept: list[Any] = []
    for key, network, source in (
        ('s', model.student, student_source),
        ('t', model.teacher, teacher_source),
    ):
        stage = '.0' if source == CASCADE else ''
        path = f'roi_head.bbox_roi_extractor{stage}'
        inputs_of(network, path, seen[key])
        outputs_of(network, source, scores[key])
    compute = model.distiller.compute_distill_losses

    def look(samples: Any) -> Any:
        kept.append(
            [
                manager.recorders['head'].data_buffer
                for manager in (
                    model.distiller.student_recorders,
                    model.distiller.teacher_recorders,
                )
            ]
        )
        return compute(samples)

    model.distiller.compute_distill_losses = look
    losses = model.loss(*detection_batch())
    assert len(seen['s']) == len(seen['t']) == 1
    rois, theirs = seen['s'][0][1], seen['t'][0][1]
    assert rois.shape[1] == 5 and len(rois) > 8
    assert set(rois[:, 0].tolist()) == {0.0, 1.0, 2.0, 3.0}  # Both views.
    assert torch.equal(rois, theirs)
    # The recorders heard exactly these evaluations.
    ((mine,), (other,)) = kept[0]
    assert mine is scores['s'][0] and other is scores['t'][0]
    assert mine.shape == other.shape == (len(rois), 4)
    expected = (
        (other.softmax(1) * (other.log_softmax(1) - mine.log_softmax(1)))
        .sum(1)
        .mean()
    )
    torch.testing.assert_close(losses['distill.loss_kl'], expected)


def test_ground_truth_is_among_the_rois() -> None:
    model = build(policy='off')
    calls: list[Any] = []
    inputs_of(model.teacher, 'roi_head.bbox_roi_extractor', calls)
    images, samples = detection_batch()
    model.loss(images, samples)
    rois = calls[0][1]
    for box in samples[0].gt_instances.bboxes:
        assert (rois[rois[:, 0] == 0][:, 1:] == box).all(dim=1).any()


def test_equal_models_have_nothing_to_distil() -> None:
    model = build(teacher=tiny_faster_rcnn(), policy='off')
    with torch.no_grad():  # A fresh head says the same to everything.
        model.student.roi_head.bbox_head.fc_cls.weight.mul_(50)
    model.teacher.load_state_dict(model.student.state_dict())
    model.eval()  # Both by running statistics.
    batch = detection_batch()
    losses = model.loss(*batch)
    assert losses['distill.loss_kl'].item() == pytest.approx(0, abs=1e-6)
    with torch.no_grad():
        model.teacher.roi_head.bbox_head.fc_cls.weight.mul_(-1)
    assert model.loss(*batch)['distill.loss_kl'].item() > 1e-2


def test_gradients_reach_the_student_alone() -> None:
    model = build(teacher=tiny_cascade_mask_rcnn(16, 16), distiller=cascade())
    losses = model.loss(*detection_batch())
    losses['distill.loss_kl'].backward()
    head = model.student.roi_head.bbox_head
    assert head.fc_cls.weight.grad.abs().sum() > 0
    assert head.shared_fcs[0].weight.grad.abs().sum() > 0
    assert model.student.backbone.conv1.weight.grad.abs().sum() > 0
    assert head.fc_reg.weight.grad is None
    assert all(p.grad is None for p in model.teacher.parameters())


def cascade() -> dict[str, Any]:
    return distiller(teacher=CASCADE)


def test_the_teacher_runs_no_more_than_is_asked() -> None:
    model = build(teacher=tiny_cascade_mask_rcnn(), distiller=cascade())
    called: list[str] = []
    for name, module in model.teacher.named_modules():
        module.register_forward_hook(lambda *_, name=name: called.append(name))
    model.loss(*detection_batch())
    parts = {'.'.join(name.split('.')[:3]) for name in called}
    assert not any(name.startswith('rpn_head') for name in called)
    assert {name for name in parts if name.startswith('roi_head')} == {
        'roi_head.bbox_head.0',
        'roi_head.bbox_roi_extractor.0',
    }


def test_the_rpn_of_the_teacher_runs_where_it_is_recorded() -> None:
    cfg = distiller()
    cfg['student_recorders']['rpn'] = recorder('rpn_head')
    cfg['teacher_recorders']['rpn'] = recorder('rpn_head')
    cfg['distill_losses']['loss_rpn'] = dict(
        type='mmtst.DenseKLLoss', form='sigmoid'
    )
    cfg['loss_forward_mappings']['loss_rpn'] = dict(
        preds_S=dict(from_student=True, recorder='rpn', data_idx=0),
        preds_T=dict(from_student=False, recorder='rpn', data_idx=0),
    )
    losses = build(distiller=cfg).loss(*detection_batch())
    assert float(losses['distill.loss_rpn'].detach()) > 0
    assert float(losses['distill.loss_kl'].detach()) > 0


def test_nothing_outlives_a_step_not_even_a_failed_one() -> None:
    model = build(teacher=tiny_cascade_mask_rcnn(), distiller=cascade())
    shared = model._teacher_pass._shared_rois
    extractor = model.student.roi_head.bbox_roi_extractor

    def nothing_is_left() -> bool:
        managers = (
            model.distiller.student_recorders,
            model.distiller.teacher_recorders,
        )
        recorders = [m.recorders['head'] for m in managers]
        return (
            shared._rois is None
            and not extractor._forward_pre_hooks
            and not any(r.data_buffer or r.recording for r in recorders)
        )

    batch = detection_batch()
    model.loss(*batch)
    assert nothing_is_left()
    for broken in (
        model.student.roi_head.bbox_head.fc_reg,
        model.teacher.backbone,
        model.teacher.roi_head.bbox_head[0].fc_reg,
        model.distiller.distill_losses['loss_kl'],
    ):
        handle = broken.register_forward_hook(fail)
        with pytest.raises(KeyError, match='broken'):
            model.loss(*batch)
        handle.remove()
        assert nothing_is_left()
    model.distillation_stopped = True
    assert 'distill.loss_kl' not in model.loss(*batch)
    assert nothing_is_left()
    model.distillation_stopped = False
    assert bool(torch.isfinite(model.loss(*batch)['distill.loss_kl']))


def fail(*_: Any) -> None:
    raise KeyError('broken')


def test_the_teacher_needs_the_students_rois_first() -> None:
    model = build()
    shared = model._teacher_pass._shared_rois
    with pytest.raises(RuntimeError, match='no RoIs'), shared.listening():
        shared.evaluate([])


def test_candidates_of_hard_example_samplers_do_not_count() -> None:
    student = tiny_faster_rcnn()
    student['cfg_options']['train_cfg']['rcnn'] = dict(
        sampler=dict(type='OHEMSampler', num=16, pos_fraction=0.25)
    )
    model = build(student, tiny_cascade_mask_rcnn(), distiller=cascade())
    student_calls: list[Any] = []
    teacher_calls: list[Any] = []
    inputs_of(model.student, 'roi_head.bbox_roi_extractor', student_calls)
    inputs_of(model.teacher, 'roi_head.bbox_roi_extractor.0', teacher_calls)
    losses = model.loss(*detection_batch())
    assert len(student_calls) > 1  # Candidates, then the sample.
    assert torch.equal(student_calls[-1][1], teacher_calls[0][1])
    losses['distill.loss_kl'].backward()
    weight = model.student.roi_head.bbox_head.fc_cls.weight
    assert weight.grad.abs().sum() > 0


@pytest.mark.parametrize('agnostic', [True, False])
@pytest.mark.parametrize(
    'head',
    [
        dict(type='Shared4Conv1FCBBoxHead', conv_out_channels=8),
        dict(type='ConvFCBBoxHead', num_shared_fcs=1),
        dict(
            _delete_=True,
            type='BBoxHead',
            with_avg_pool=True,
            in_channels=8,
            num_classes=3,
        ),
    ],
    ids=lambda head: head['type'],
)
def test_box_heads_may_differ(head: dict[str, Any], agnostic: bool) -> None:
    student = tiny_faster_rcnn()
    options = student['cfg_options']['roi_head']
    own = {} if '_delete_' in head else options['bbox_head']
    options['bbox_head'] = dict(own, **head, reg_class_agnostic=agnostic)
    losses = build(student).loss(*detection_batch())
    total(losses).backward()
    assert float(losses['distill.loss_kl'].detach()) > 0


def test_strides_and_a_shared_head_may_differ() -> None:
    """A C4 detector: one level of stride 8, and a stage after the RoIs."""
    student = tiny_faster_rcnn()
    options = student['cfg_options']
    options['backbone'].update(
        base_channels=32,
        num_stages=2,
        strides=(1, 2),
        dilations=(1, 1),
        out_indices=(1,),
    )
    options['neck'] = None
    options['rpn_head'] = dict(
        in_channels=64,
        feat_channels=8,
        anchor_generator=dict(
            _delete_=True,
            type='AnchorGenerator',
            scales=[2, 4],
            ratios=[1.0],
            strides=[8],
        ),
    )
    options['roi_head'] = dict(
        bbox_roi_extractor=dict(
            out_channels=64,
            featmap_strides=[8],
            roi_layer=dict(output_size=14),
        ),
        shared_head=dict(
            type='ResLayer', depth=18, stage=1, stride=2, dilation=1
        ),
        bbox_head=dict(
            _delete_=True,
            type='BBoxHead',
            with_avg_pool=True,
            in_channels=128,
            num_classes=3,
        ),
    )
    for one, other in (
        (student, tiny_faster_rcnn()),
        (tiny_faster_rcnn(), student),
    ):
        model = build(one, other)
        losses = model.loss(*detection_batch())
        assert float(losses['distill.loss_kl'].detach()) > 0


def roi_head_of(name: str) -> Any:
    """Return a bare RoI head of a class of mmdet's."""
    from mmdet.models import roi_heads

    cls = getattr(roi_heads, name)
    head = cls.__new__(cls)
    nn.Module.__init__(head)
    return head


@pytest.mark.parametrize(
    'name',
    [
        'HybridTaskCascadeRoIHead',
        'SCNetRoIHead',
        'DynamicRoIHead',
        'GridRoIHead',
        'PISARoIHead',
        'PointRendRoIHead',
        'MaskScoringRoIHead',
        'DoubleHeadRoIHead',
        'SparseRoIHead',
        'TridentRoIHead',
        'MultiInstanceRoIHead',
    ],
)
@pytest.mark.parametrize('side', ['student', 'teacher'])
def test_other_roi_heads_are_refused(name: str, side: str) -> None:
    models = {
        key: build_model(tiny_faster_rcnn(), key)
        for key in ('student', 'teacher')
    }
    models[side].roi_head = roi_head_of(name)
    with pytest.raises(ConfigError) as error:
        SharedRoIs.between(**models, distiller=distiller())
    message = str(error.value)
    where = {'student': 'architecture', 'teacher': 'teacher'}[side]
    assert f'where:   model.{where}.roi_head' in message
    assert name in message
    assert 'allowed: StandardRoIHead or CascadeRoIHead' in message
    assert 'fix:' in message


def test_a_student_without_roi_head_is_refused() -> None:
    with pytest.raises(ConfigError, match='RetinaNet') as error:
        build(tiny_retinanet())
    assert '_recorders' in str(error.value)
    assert "source='neck'" in str(error.value)


def test_one_stage_pairs_share_none() -> None:
    models = [build_model(tiny_retinanet(), 'here') for _ in range(2)]
    assert SharedRoIs.between(*models, distiller('neck', 'neck')) is None


def test_other_classes_are_refused() -> None:
    with pytest.raises(ConfigError, match='number of classes') as error:
        build(teacher=tiny_faster_rcnn(num_classes=4))
    assert "{'student': 3, 'teacher': 4}" in str(error.value)


def test_custom_class_channels_are_refused() -> None:
    teacher = tiny_faster_rcnn()
    teacher['cfg_options']['roi_head']['bbox_head']['loss_cls'] = dict(
        _delete_=True, type='SeesawLoss', num_classes=3
    )
    with pytest.raises(ConfigError, match='SeesawLoss') as error:
        build(teacher=teacher)
    where = 'where:   model.teacher.roi_head.bbox_head.loss_cls'
    assert where in str(error.value)


@pytest.mark.parametrize(
    'options', [dict(with_cls=False), None], ids=['no classes', 'no head']
)
def test_a_head_without_classes_is_refused(
    options: dict[str, Any] | None,
) -> None:
    teacher: BaseModel = build_model(tiny_faster_rcnn(), 'teacher')
    if options is None:
        teacher.roi_head.bbox_head = None
    else:
        del teacher.roi_head.bbox_head.fc_cls
    with pytest.raises(ConfigError) as error:
        build(teacher=teacher)
    assert 'model.teacher.roi_head.bbox_head' in str(error.value)


@pytest.mark.parametrize(
    ('student', 'teacher', 'got'),
    [
        (STANDARD, 'roi_head.bbox_head.1.fc_cls', 'bbox_head.1'),
        (STANDARD, 'roi_head.bbox_head', 'roi_head.bbox_head'),
        (STANDARD, 'roi_head.mask_head.0', 'mask_head.0'),
        ('roi_head.mask_head', CASCADE, 'mask_head'),
    ],
)
def test_recorders_of_what_sees_no_shared_rois_are_refused(
    student: str, teacher: str, got: str
) -> None:
    with pytest.raises(ConfigError, match='does not see') as error:
        build(
            teacher=tiny_cascade_mask_rcnn(),
            distiller=distiller(student, teacher),
        )
    side = 'student' if 'mask_head' in student else 'teacher'
    assert f'model.distiller.{side}_recorders' in str(error.value)
    assert got in str(error.value)
