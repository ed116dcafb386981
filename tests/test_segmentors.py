"""Check TST on segmentors: both heads, label maps, other strides."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from mmtst.models.algorithms.teacher_pass import TeacherPass
from mmtst.models.build import build_model
from mmtst.registry import MODELS
from mmtst.testing.segmentation import (
    DEEPLABV3PLUS,
    POINT_REND,
    PSPNET,
    SEGFORMER,
    segmentation_batch,
    tiny_segmentor,
)
from mmtst.utils.errors import ConfigError

DECODE = 'decode_head.conv_seg'
AUXILIARY = 'auxiliary_head.conv_seg'


def distiller(*sources, student_sources=None):
    def recorders(names):
        return {
            f'head{i}': dict(type='ModuleOutputs', source=source)
            for i, source in enumerate(names)
        }

    return dict(
        type='mmtst.DataAugmentationDistiller',
        student_recorders=recorders(student_sources or sources),
        teacher_recorders=recorders(sources),
        distill_losses={
            f'loss_kl{i}': dict(type='mmtst.DenseKLLoss', resize=True)
            for i in range(len(sources))
        },
        loss_forward_mappings={
            f'loss_kl{i}': dict(
                preds_S=dict(from_student=True, recorder=f'head{i}'),
                preds_T=dict(from_student=False, recorder=f'head{i}'),
            )
            for i in range(len(sources))
        },
    )


def build(student, teacher, *sources, **options):
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            _scope_='mmrazor',
            type='mmtst.TSTDistill',
            architecture=student,
            teacher=teacher,
            untrained_teacher=True,
            distiller=distiller(*sources),
            seed=0,
            **options,
        )
    )
    model.train()
    return model


@pytest.mark.parametrize(
    ('student', 'teacher', 'sources'),
    [
        (PSPNET, PSPNET, (DECODE, AUXILIARY)),
        (DEEPLABV3PLUS, DEEPLABV3PLUS, (DECODE, AUXILIARY)),
        (SEGFORMER, SEGFORMER, (DECODE,)),
        (PSPNET, SEGFORMER, (DECODE,)),
    ],
    ids=lambda value: value if isinstance(value, tuple) else None,
)
def test_a_step_distils_each_head(student, teacher, sources):
    model = build(tiny_segmentor(student), tiny_segmentor(teacher), *sources)
    inputs, samples = segmentation_batch()
    losses = model.loss(inputs, samples)
    distilled = [v for name, v in losses.items() if 'distill.' in name]
    assert len(distilled) == len(sources)
    assert all(bool(v.isfinite()) and v > 0 for v in distilled)
    sum(distilled).backward()
    assert model.student.decode_head.conv_seg.weight.grad.abs().sum() > 0
    if AUXILIARY in sources:
        weight = model.student.auxiliary_head.conv_seg.weight
        assert weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in model.teacher.parameters())


def test_equal_models_have_nothing_to_distil():
    model = build(
        tiny_segmentor(), tiny_segmentor(), DECODE, AUXILIARY, policy='off'
    )
    model.teacher.load_state_dict(model.student.state_dict())
    model.student.eval()  # The same statistics, and no dropout.
    losses = model.loss(*segmentation_batch())
    for name in ('distill.loss_kl0', 'distill.loss_kl1'):
        assert abs(losses[name].item()) < 1e-6


def test_kl_is_the_papers_at_the_resolution_of_the_logits():
    """Per pixel over classes; the mean over pixels of both views."""
    model = build(tiny_segmentor(), tiny_segmentor(), DECODE, policy='off')
    seen = {}
    for side in ('student', 'teacher'):
        head = getattr(model, side).decode_head.conv_seg
        head.register_forward_hook(
            lambda _, __, out, side=side: seen.__setitem__(side, out)
        )
    losses = model.loss(*segmentation_batch())
    student, teacher = (seen[s].detach().double() for s in seen)
    assert student.shape == (4, 4, 8, 12)  # Two views of two; stride 8.
    p = teacher.softmax(1)
    expected = (p * (p.log() - student.log_softmax(1))).sum(1).mean()
    assert losses['distill.loss_kl0'].item() == pytest.approx(
        expected.item(), rel=1e-5
    )


def test_the_teacher_runs_the_heads_that_are_recorded_and_no_other():
    model = build(tiny_segmentor(), tiny_segmentor(), DECODE)
    calls = []
    for name in ('backbone', 'decode_head', 'auxiliary_head'):
        getattr(model.teacher, name).register_forward_hook(
            lambda *_, name=name: calls.append(name)
        )
    model.loss(*segmentation_batch())
    assert calls == ['backbone', 'decode_head']


def test_of_several_auxiliary_heads_the_recorded_one_runs():
    teacher = build_model(tiny_segmentor(), 'teacher').eval()
    first = teacher.auxiliary_head
    teacher.auxiliary_head = nn.ModuleList([first, copy.deepcopy(first)])
    calls = []
    for index, head in enumerate(teacher.auxiliary_head):
        head.register_forward_hook(lambda *_, i=index: calls.append(i))
    source = 'auxiliary_head.1.conv_seg'
    TeacherPass(teacher, teacher.data_preprocessor, [source]).run(
        *segmentation_batch()
    )
    assert calls == [1]


def test_of_a_cascade_the_heads_up_to_the_recorded_one_run():
    teacher = build_model(tiny_segmentor(POINT_REND), 'teacher').eval()
    calls = []
    for head in teacher.decode_head:
        head.register_forward_hook(lambda m, *_: calls.append(type(m)))
    preprocessor = teacher.data_preprocessor
    runner = TeacherPass(teacher, preprocessor, ['decode_head.0.conv_seg'])
    runner.run(*segmentation_batch())
    assert calls == [type(teacher.decode_head[0])]
    with pytest.raises(ConfigError, match=r"source='decode_head.0.conv_seg'"):
        TeacherPass(teacher, preprocessor, ['decode_head.1.fc_seg'])


@pytest.mark.parametrize('ignored', [255, 3])
def test_what_comes_from_outside_is_what_the_heads_ignore(ignored):
    options = dict(ignore_index=ignored)
    references = [tiny_segmentor(), tiny_segmentor()]
    for reference in references:
        for head in ('decode_head', 'auxiliary_head'):
            reference['cfg_options'][head].update(options)
    model = build(*references, DECODE)
    inputs, samples = segmentation_batch(ignore_rows=0, num_classes=3)
    model.augmentation.th_p.fill_(3.0)
    _, views, _ = model.views(inputs, samples)
    labels = torch.cat([s.gt_sem_seg.data for s in views[2:]])
    outside = {int(v) for v in labels.unique()} - {0, 1, 2}
    assert outside == {ignored}


def test_the_policy_gets_a_gradient_from_both_sides():
    model = build(tiny_segmentor(), tiny_segmentor(), DECODE)
    inputs, samples = segmentation_batch(batch=4)
    policy = model.augmentation.policy.leaf()
    with model.search_mode():
        draw, _ = model.draw_views(
            inputs, samples, policy, torch.Generator().manual_seed(0)
        )
        result = model.search_objective(inputs, samples, policy, draw)
        gradients = torch.autograd.grad(
            result.total, list(policy), allow_unused=True
        )
    assert all(g is not None and g.abs().sum() > 0 for g in gradients)
    assert result.parts['S_cls'] > 0 and result.parts['T_cls'] > 0
    assert result.gap_rate is not None


def test_a_batch_without_labels_is_finite_and_out_of_the_search():
    model = build(tiny_segmentor(), tiny_segmentor(), DECODE, AUXILIARY)
    inputs, samples = segmentation_batch(ignore_rows=64)
    losses = model.loss(inputs, samples)
    for name, value in losses.items():
        if 'loss' in name:
            assert bool(value.isfinite().all()), name
    policy = model.augmentation.policy.leaf()
    draw, _ = model.draw_views(inputs, samples, policy, model.generator)
    assert model.search_objective(inputs, samples, policy, draw) is None
