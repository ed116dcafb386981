"""Check TeacherStudentDistill: one view, and what all methods stand on."""

from __future__ import annotations

import copy

import pytest
import torch
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.runner.checkpoint import get_state_dict, load_state_dict

from mmtst.models import TeacherStudentDistill, TSTDistill
from mmtst.registry import MODELS
from mmtst.testing.detection import (
    detection_batch,
    tiny_faster_rcnn,
    tiny_retinanet,
)
from mmtst.testing.segmentation import segmentation_batch, tiny_segmentor
from mmtst.utils.errors import ConfigError


def distiller(source='bbox_head', index=0):
    head = dict(type='ModuleOutputs', source=source)
    record = dict(recorder='head')
    if index is not None:
        record['data_idx'] = index
    return dict(
        type='mmtst.DataAugmentationDistiller',
        student_recorders=dict(head=head),
        teacher_recorders=dict(head=head),
        distill_losses=dict(loss_kl=dict(type='mmtst.DenseKLLoss')),
        loss_forward_mappings=dict(
            loss_kl=dict(
                preds_S=dict(from_student=True, **record),
                preds_T=dict(from_student=False, **record),
            )
        ),
    )


def build(**options):
    cfg = dict(
        _scope_='mmrazor',
        type='mmtst.TeacherStudentDistill',
        architecture=tiny_retinanet(8),
        teacher=tiny_retinanet(16),
        untrained_teacher=True,
        distiller=distiller(),
    )
    cfg.update(options)
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    model.train()
    return model


def test_a_step_equals_that_of_mmrazors_own_algorithm():
    ours = build()
    plain = MMENGINE_MODELS.build(
        dict(
            _scope_='mmrazor',
            type='SingleTeacherDistill',
            architecture=copy.deepcopy(ours.student),
            teacher=copy.deepcopy(ours.teacher),
            distiller=distiller(),
        )
    )
    plain.train()
    inputs, samples = detection_batch()
    theirs = plain.loss(inputs, samples)
    mine = ours.loss(inputs, samples)
    assert set(theirs) == set(mine)
    assert mine['distill.loss_kl'] > 0
    for name, value in theirs.items():
        torch.testing.assert_close(mine[name], value, msg=name)


def test_the_student_sees_each_image_once():
    model = build()
    seen = []
    model.student.backbone.register_forward_pre_hook(
        lambda _, args: seen.append(args[0].shape)
    )
    inputs, samples = detection_batch()
    views, kept, logged = model.views(inputs, samples)
    assert views is inputs and kept == samples and logged == {}
    model.loss(inputs, samples)
    assert seen == [inputs.shape]


def test_the_teacher_computes_no_losses(monkeypatch):
    model = build()

    def fail(*_):
        raise AssertionError('the teacher has assigned targets')

    monkeypatch.setattr(model.teacher.bbox_head, 'loss', fail)
    monkeypatch.setattr(model.teacher.bbox_head, 'loss_by_feat', fail)
    losses = model.loss(*detection_batch())
    assert losses['distill.loss_kl'] > 0


def test_the_gradient_reaches_the_student_and_no_other():
    model = build()
    losses = model.loss(*detection_batch())
    losses['distill.loss_kl'].backward()
    weight = model.student.bbox_head.retina_cls.weight
    assert weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in model.teacher.parameters())
    before = losses['distill.loss_kl'].detach()
    with torch.no_grad():
        for parameter in model.student.bbox_head.parameters():
            if parameter.grad is not None:
                parameter -= 0.01 * parameter.grad
    after = model.loss(*detection_batch())['distill.loss_kl']
    assert after < before


def test_two_stage_pairs_share_the_students_rois():
    source = 'roi_head.bbox_head.fc_cls'
    model = build(
        architecture=tiny_faster_rcnn(8),
        teacher=tiny_faster_rcnn(8),
        distiller=distiller(source, None),
    )
    model.teacher.load_state_dict(model.student.state_dict())
    model.student.eval()  # Both with the same statistics.
    seen = {}

    def note(side):
        def hook(_, args):
            seen.setdefault(side, args[1])

        return hook

    for side in ('student', 'teacher'):
        extractor = getattr(model, side).roi_head.bbox_roi_extractor
        extractor.register_forward_pre_hook(note(side))
    losses = model.loss(*detection_batch())
    assert torch.equal(seen['student'], seen['teacher'])
    assert abs(losses['distill.loss_kl'].item()) < 1e-6


@pytest.mark.filterwarnings('ignore:Default ``avg_non_ignore``')
def test_class_weights_of_segmentors_stand_ignored_pixels():
    segmentor = tiny_segmentor()
    segmentor['cfg_options']['decode_head']['loss_decode'] = dict(
        class_weight=[1.0, 2.0, 3.0, 4.0]
    )
    model = build(
        architecture=segmentor,
        teacher=copy.deepcopy(segmentor),
        distiller=distiller('decode_head.conv_seg', index=None),
    )
    inputs, samples = segmentation_batch()
    losses = model.loss(inputs, samples)
    assert losses['student.decode.loss_ce'].isfinite()
    assert losses['distill.loss_kl'].isfinite()
    teacher_losses = model.teacher(inputs, samples, mode='loss')
    assert teacher_losses['decode.loss_ce'].isfinite()


def test_checkpoints_leave_the_teacher_out_and_load():
    model = build()
    state = get_state_dict(model)
    assert state and not any(name.startswith('teacher.') for name in state)
    other = build()
    for parameter in other.student.parameters():
        parameter.data.zero_()
    load_state_dict(other, state, strict=True)
    for name, value in model.student.state_dict().items():
        assert torch.equal(other.student.state_dict()[name], value), name


def test_the_teacher_stays_in_eval():
    model = build()
    model.train()
    assert model.student.training
    assert not any(module.training for module in model.teacher.modules())


@pytest.mark.parametrize('kind', [TeacherStudentDistill, TSTDistill])
def test_options_that_are_no_choice_are_refused_by_name(kind):
    with pytest.raises(ConfigError) as caught:
        build(type=f'mmtst.{kind.__name__}', teacher_trainable=True)
    assert f'{kind.__name__} does not take teacher_trainable' in str(
        caught.value
    )


def test_a_teacher_without_a_checkpoint_is_refused():
    with pytest.raises(ConfigError, match='untrained_teacher=True'):
        build(untrained_teacher=False)


def test_another_distiller_is_refused_by_name():
    cfg = dict(distiller(), type='mmrazor.ConfigurableDistiller')
    with pytest.raises(ConfigError, match='model.distiller.type'):
        build(distiller=cfg)


def test_of_a_recorded_method_all_of_the_teacher_is_run():
    """A module's name says which part is needed; a method's does not."""
    method = dict(
        type='MethodOutputs',
        source='mmdet.models.dense_heads.anchor_head.AnchorHead.forward',
    )
    cfg = distiller()
    for side in ('student', 'teacher'):
        cfg[f'{side}_recorders'] = dict(head=method)
    losses = build(distiller=cfg).loss(*detection_batch())
    assert losses['distill.loss_kl'] > 0
