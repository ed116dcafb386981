"""Check DataAugmentationDistiller's errors and its records."""

import copy

import pytest
import torch
from torch import nn

import mmtst  # noqa: F401  (mmrazor imports only after it)
from mmtst.models.distillers import DataAugmentationDistiller
from mmtst.models.losses import MimicLoss
from mmtst.utils.errors import ConfigError

GOOD = dict(
    student_recorders=dict(out=dict(type='ModuleOutputs', source='0')),
    teacher_recorders=dict(out=dict(type='ModuleOutputs', source='0')),
    distill_losses=dict(loss_mimic=dict(type='mmtst.MimicLoss')),
    loss_forward_mappings=dict(
        loss_mimic=dict(
            preds_S=dict(from_student=True, recorder='out'),
            preds_T=dict(from_student=False, recorder='out'),
        )
    ),
)


def build(**changes):
    cfg = copy.deepcopy(GOOD)
    cfg.update(changes)
    return DataAugmentationDistiller(**cfg)


def test_losses_are_computed_once_and_records_dropped():
    distiller = build()
    student, teacher = nn.Sequential(nn.Identity()), nn.Sequential(nn.ReLU())
    distiller.prepare_from_student(student)
    distiller.prepare_from_teacher(teacher)
    with distiller.recording('student'):
        student(torch.tensor([1.0, -1.0]))
    with distiller.recording('teacher'):
        teacher(torch.tensor([1.0, -1.0]))
    # Student (1, -1), teacher (1, 0): mean square error 1/2.
    losses = distiller.compute_and_clear()
    assert float(losses['loss_mimic']) == pytest.approx(0.5)
    for manager in (distiller.student_recorders, distiller.teacher_recorders):
        assert manager.get_recorder('out').data_buffer == []
    student(torch.ones(2))
    assert distiller.student_recorders.get_recorder('out').data_buffer == []


def test_records_are_dropped_when_a_loss_fails():
    distiller = build()
    student = nn.Sequential(nn.Identity())
    distiller.prepare_from_student(student)
    distiller.prepare_from_teacher(nn.Sequential(nn.Identity()))
    with distiller.recording('student'):
        student(torch.ones(2))
    with pytest.raises(AssertionError):
        distiller.compute_and_clear()
    assert distiller.student_recorders.get_recorder('out').data_buffer == []


def mapping(**changes):
    maps = copy.deepcopy(GOOD['loss_forward_mappings'])
    maps['loss_mimic']['preds_S'].update(changes)
    return maps


@pytest.mark.parametrize(
    ('maps', 'message'),
    [
        (dict(loss_x={}), "'loss_x' is not among distill_losses"),
        (mapping(recorder='neck'), "'neck' is not among student_recorders"),
        (mapping(connector='c'), "'c' is not among connectors"),
        (mapping(from_student=None), 'needs a recorder and from_student'),
        ({}, 'would never be computed'),
    ],
)
def test_bad_mappings_are_refused(maps, message):
    with pytest.raises(ConfigError, match=message) as error:
        build(loss_forward_mappings=maps)
    assert 'model.distiller' in str(error.value)


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('preds_S', 'preds_X', "MimicLoss has no argument 'preds_X'"),
        ('preds_T', None, "MimicLoss needs an argument 'preds_T'"),
    ],
)
def test_arguments_are_those_of_the_loss(old, new, message):
    maps = mapping()
    record = maps['loss_mimic'].pop(old)
    if new is not None:
        maps['loss_mimic'][new] = record
    with pytest.raises(ConfigError, match=message) as error:
        build(loss_forward_mappings=maps)
    where = f'model.distiller.loss_forward_mappings.loss_mimic.{new or old}'
    assert f'where:   {where}' in str(error.value)


class OpenLoss(nn.Module):
    def forward(self, preds_S, weight=1.0, **others):
        return weight * preds_S.sum() + sum(x.sum() for x in others.values())


def test_what_a_loss_leaves_open_may_be_given_or_not(monkeypatch):
    monkeypatch.setattr(
        DataAugmentationDistiller,
        'build_distill_losses',
        lambda self, losses: nn.ModuleDict({'loss_mimic': OpenLoss()}),
    )
    assert set(build().loss_forward_mappings['loss_mimic']) == {
        'preds_S',
        'preds_T',
    }


class SampledLoss(nn.Module):
    def forward(self, preds_S, preds_T, data_samples):
        weights = preds_S.new_tensor(data_samples)
        return (weights * (preds_S - preds_T)).sum()


class WillingLoss(nn.Module):
    def forward(self, preds_S, preds_T, data_samples=(10.0,)):
        return (preds_S - preds_T).sum() * data_samples[0]


def sampled(monkeypatch, loss):
    """Build a distiller of one loss; record (1, -1) and (1, 0)."""
    monkeypatch.setattr(
        DataAugmentationDistiller,
        'build_distill_losses',
        lambda self, losses: nn.ModuleDict({'loss_mimic': loss}),
    )
    distiller = build()
    student, teacher = nn.Sequential(nn.Identity()), nn.Sequential(nn.ReLU())
    distiller.prepare_from_student(student)
    distiller.prepare_from_teacher(teacher)
    with distiller.recording('student'):
        student(torch.tensor([1.0, -1.0]))
    with distiller.recording('teacher'):
        teacher(torch.tensor([1.0, -1.0]))
    return distiller


def test_samples_reach_the_loss_that_takes_them(monkeypatch):
    distiller = sampled(monkeypatch, SampledLoss())
    losses = distiller.compute_and_clear([3.0, 5.0])
    assert float(losses['loss_mimic']) == -5.0


def test_samples_are_handed_to_no_other_loss(monkeypatch):
    distiller = sampled(monkeypatch, MimicLoss())
    losses = distiller.compute_and_clear([3.0, 5.0])
    assert float(losses['loss_mimic']) == pytest.approx(0.5)


def test_a_loss_that_needs_samples_says_where_there_are_some(monkeypatch):
    distiller = sampled(monkeypatch, SampledLoss())
    # This is how mmrazor's algorithms call it.
    with pytest.raises(
        ConfigError, match='SampledLoss needs the samples'
    ) as error:
        distiller.compute_distill_losses()
    assert 'mmtst.TeacherStudentDistill' in str(error.value)
    assert 'model.distiller.distill_losses.loss_mimic' in str(error.value)


def test_samples_may_be_left_out_where_the_loss_says_so(monkeypatch):
    distiller = sampled(monkeypatch, WillingLoss())
    losses = distiller.compute_distill_losses()
    assert float(losses['loss_mimic']) == -10.0
    losses = distiller.compute_and_clear([2.0])
    assert float(losses['loss_mimic']) == -2.0


def test_samples_need_no_mapping_and_may_have_none():
    losses = dict(loss_fgd=dict(type='mmtst.FGDLoss', channels=2))
    maps = dict(loss_fgd=GOOD['loss_forward_mappings']['loss_mimic'])
    build(distill_losses=losses, loss_forward_mappings=maps)
    maps['loss_fgd'] = dict(
        maps['loss_fgd'], data_samples=dict(from_student=True, recorder='out')
    )
    with pytest.raises(ConfigError, match='no record is mapped') as error:
        build(distill_losses=losses, loss_forward_mappings=maps)
    where = 'model.distiller.loss_forward_mappings.loss_fgd.data_samples'
    assert f'where:   {where}' in str(error.value)


def test_unknown_modules_are_named_with_near_ones():
    recorders = dict(out=dict(type='ModuleOutputs', source='head.0'))
    distiller = build(student_recorders=recorders)
    model = nn.Sequential(nn.Sequential(nn.Identity()))
    with pytest.raises(ConfigError, match=r"no module 'head.0'") as error:
        distiller.prepare_from_student(model)
    assert '0.0' in str(error.value)
    assert 'student_recorders.out.source' in str(error.value)


class Miner(nn.Module):
    """Look at candidates before the outputs that count, as OHEM does."""

    def __init__(self):
        super().__init__()
        self.frozen = nn.Linear(2, 2).requires_grad_(False)
        self.head = nn.Linear(2, 2)

    def forward(self, inputs):
        inputs = self.frozen(inputs)
        with torch.no_grad():
            self.head(inputs[:1])
        return self.head(inputs), self.head(inputs)


def test_candidates_of_a_student_do_not_count():
    recorders = {
        name: dict(type='ModuleOutputs', source=name)
        for name in ('frozen', 'head')
    }
    distiller = build(student_recorders=dict(recorders, out=recorders['head']))
    model = Miner()
    distiller.prepare_from_student(model)
    with distiller.recording('student'):
        first, second = model(torch.randn(3, 2))
    held = distiller.student_recorders.recorders
    assert held['head'].data_buffer[0] is first
    assert held['head'].data_buffer[1] is second
    assert len(held['head'].data_buffer) == 2
    # What never carries gradients stays.
    assert len(held['frozen'].data_buffer) == 1
    with torch.no_grad(), distiller.recording('student'):
        model(torch.randn(3, 2))
    assert len(held['head'].data_buffer) == 3


def test_connectors_are_initialized_as_they_say():
    constant = dict(type='Constant', layer='Conv2d', val=0.25)
    distiller = build(
        connectors=dict(
            own=dict(
                type='mmtst.PyramidConnector',
                in_channels=2,
                out_channels=3,
                num_levels=2,
                init_cfg=constant,
            ),
            per_level=dict(
                type='mmtst.LevelwiseConnector',
                num_levels=2,
                connector=dict(
                    type='mmtst.PyramidConnector',
                    in_channels=2,
                    out_channels=3,
                    num_levels=1,
                ),
                init_cfg=constant,
            ),
        )
    )
    distiller.init_weights()
    for connector in distiller.connectors.values():
        for layer in connector.modules():
            if isinstance(layer, nn.Conv2d):
                assert torch.equal(
                    layer.weight, torch.full_like(layer.weight, 0.25)
                )
