"""Check TSTDistill: its steps, its gradients and what it keeps still."""

import copy
import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import DefaultScope
from mmengine.runner.checkpoint import get_state_dict, load_state_dict

from mmtst.augmentation import (
    MAGNITUDE_OPERATORS,
    OPERATORS,
    Policy,
    composition,
)
from mmtst.augmentation.appliers import apply_to_samples
from mmtst.models.build import build_model
from mmtst.models.losses import FGDLoss
from mmtst.registry import MODELS
from mmtst.testing.detection import (
    detection_batch,
    positives_loss,
    tiny_retinanet,
)
from mmtst.utils.errors import ConfigError

HEAD = dict(type='ModuleOutputs', source='bbox_head')
NECK = dict(type='ModuleOutputs', source='neck')


def distiller(student_channels=8, teacher_channels=8, connector=True):
    student = dict(from_student=True, recorder='neck')
    cfg = dict(
        type='mmtst.DataAugmentationDistiller',
        student_recorders=dict(head=HEAD, neck=NECK),
        teacher_recorders=dict(head=HEAD, neck=NECK),
        distill_losses=dict(
            loss_kl=dict(type='mmtst.DenseKLLoss'),
            loss_mimic=dict(type='mmtst.MimicLoss'),
        ),
        loss_forward_mappings=dict(
            loss_kl=dict(
                preds_S=dict(from_student=True, recorder='head', data_idx=0),
                preds_T=dict(from_student=False, recorder='head', data_idx=0),
            ),
            loss_mimic=dict(
                preds_S=student,
                preds_T=dict(from_student=False, recorder='neck'),
            ),
        ),
    )
    if connector:
        student['connector'] = 'neck'
        cfg['connectors'] = dict(
            neck=dict(
                type='mmtst.PyramidConnector',
                in_channels=student_channels,
                out_channels=teacher_channels,
            )
        )
    return cfg


def build(seed=0, **options):
    torch.manual_seed(seed)
    cfg = dict(
        _scope_='mmrazor',
        type='mmtst.TSTDistill',
        architecture=tiny_retinanet(),
        teacher=tiny_retinanet(base_channels=16),
        untrained_teacher=True,
        distiller=distiller(),
        seed=0,
    )
    cfg.update(options)
    model = MODELS.build(cfg)
    model.init_weights()
    return model.train()


@pytest.fixture(scope='module')
def shared():
    return build()


@pytest.fixture
def model(shared):
    return copy.deepcopy(shared)


def total(losses):
    return sum(
        sum(v) if isinstance(v, (list, tuple)) else v
        for k, v in losses.items()
        if 'loss' in k
    )


def test_a_step_trains_student_and_connectors_alone(model):
    inputs, samples = detection_batch()
    losses = model.loss(inputs, samples)
    assert {'student.loss_cls', 'distill.loss_kl', 'distill.loss_mimic'} <= (
        set(losses)
    )
    assert float(losses['augment.objects_kept']) > 0
    total(losses).backward()
    assert all(p.grad is None for p in model.teacher.parameters())
    head = model.student.bbox_head.retina_cls.weight
    assert head.grad.abs().sum() > 0
    assert all(
        p.grad.abs().sum() > 0
        for p in model.distiller.connectors.parameters()
        if p.dim() > 1
    )
    assert not model.augmentation.th_p.requires_grad
    assert 'augmentation.th_p' not in dict(model.named_parameters())


def test_inputs_are_not_edited(model):
    inputs, samples = detection_batch()
    before = inputs.clone(), samples[0].gt_instances.bboxes.clone()
    model.loss(inputs, samples)
    assert torch.equal(inputs, before[0])
    assert torch.equal(samples[0].gt_instances.bboxes, before[1])


def test_records_do_not_outlive_the_step(model):
    model.loss(*detection_batch())
    for manager in (
        model.distiller.student_recorders,
        model.distiller.teacher_recorders,
    ):
        assert all(not r.data_buffer for r in manager.recorders.values())


def test_policy_off_equals_plain_kd_on_the_doubled_batch():
    ours = build(policy='off')
    student, teacher = copy.deepcopy(ours.student), copy.deepcopy(ours.teacher)
    cfg = dict(
        _scope_='mmrazor',
        type='SingleTeacherDistill',
        architecture=student,
        teacher=teacher,
        distiller=distiller(),
    )
    plain = MMENGINE_MODELS.build(cfg)
    plain.distiller.connectors.load_state_dict(
        ours.distiller.connectors.state_dict()
    )
    plain.train()
    inputs, samples = detection_batch()
    doubled = torch.cat([inputs, inputs])
    theirs = plain.loss(doubled, [*samples, *samples])
    mine = ours.loss(inputs, samples)
    assert set(theirs) == set(mine)
    for name, value in theirs.items():
        torch.testing.assert_close(mine[name], value, msg=name)
    total(mine).backward()
    total(theirs).backward()
    for (name, p), q in zip(
        ours.student.named_parameters(), student.parameters(), strict=True
    ):
        torch.testing.assert_close(p.grad, q.grad, msg=name)


def test_losses_see_the_samples_of_both_views(monkeypatch):
    seen = []
    forward = FGDLoss.forward

    def watch(self, preds_S, preds_T, data_samples):
        seen.extend(data_samples)
        return forward(self, preds_S, preds_T, data_samples)

    monkeypatch.setattr(FGDLoss, 'forward', watch)
    neck = dict(recorder='neck')
    cfg = dict(
        type='mmtst.DataAugmentationDistiller',
        student_recorders=dict(neck=NECK),
        teacher_recorders=dict(neck=NECK),
        distill_losses=dict(loss_fgd=dict(type='mmtst.FGDLoss', channels=8)),
        loss_forward_mappings=dict(
            loss_fgd=dict(
                preds_S=dict(from_student=True, **neck),
                preds_T=dict(from_student=False, **neck),
            )
        ),
    )
    model = build(distiller=cfg)
    with torch.no_grad():  # Everything is applied in full.
        model.augmentation.th_p.fill_(3.0)
        model.augmentation.th_m.fill_(3.0)
    inputs, samples = detection_batch()
    losses = model.loss(inputs, samples)
    assert all(a is b for a, b in zip(seen, samples, strict=False))
    assert len(seen) == 2 * len(samples)
    moved = [
        not torch.equal(a.gt_instances.bboxes, b.gt_instances.bboxes)
        for a, b in zip(seen[len(samples) :], samples, strict=True)
    ]
    assert any(moved)
    total(losses).backward()
    relations = model.distiller.distill_losses['loss_fgd'].student_relations
    assert all(p.grad is not None for p in relations.parameters())


def test_equal_models_have_nothing_to_distil():
    model = build(
        architecture=tiny_retinanet(),
        teacher=tiny_retinanet(),
        distiller=distiller(connector=False),
        policy='off',
    )
    model.teacher.load_state_dict(model.student.state_dict())
    # Both normalise by running statistics, or they would not be equal.
    model.eval()
    losses = model.loss(*detection_batch())
    assert float(losses['distill.loss_kl']) == pytest.approx(0, abs=1e-6)
    assert float(losses['distill.loss_mimic']) == 0.0


def test_losses_run_in_mmrazors_own_fpn_teacher():
    torch.manual_seed(0)
    mimic = distiller()
    for key in ('student_recorders', 'teacher_recorders'):
        mimic[key] = dict(neck=NECK)
    mimic['distill_losses'].pop('loss_kl')
    mimic['loss_forward_mappings'].pop('loss_kl')
    mimic['type'] = 'ConfigurableDistiller'
    cfg = dict(
        _scope_='mmrazor',
        type='FpnTeacherDistill',
        architecture=dict(type='mmtst.model_from_config', **tiny_retinanet()),
        teacher=dict(type='mmtst.model_from_config', **tiny_retinanet(16)),
        distiller=mimic,
    )
    model = MMENGINE_MODELS.build(cfg)
    model.train()
    losses = model.loss(*detection_batch())
    assert float(losses['distill.loss_mimic']) > 0


def test_the_teacher_stays_in_eval(model):
    assert model.train() is model
    assert not any(m.training for m in model.teacher.modules())
    assert model.student.backbone.bn1.training
    before = copy.deepcopy(model.teacher.state_dict())
    model.loss(*detection_batch())
    for name, value in model.teacher.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_checkpoints_leave_the_teacher_out(model, tmp_path):
    for state in (model.state_dict(), get_state_dict(model)):
        assert not any(name.startswith('teacher.') for name in state)
        assert 'augmentation.th_p' in state
        assert any(name.startswith('architecture.') for name in state)
    model.augmentation.th_p.fill_(0.5)
    state = get_state_dict(model)
    other = build(seed=1)
    teacher = copy.deepcopy(other.teacher.state_dict())
    load_state_dict(other, state, strict=True)
    other.load_state_dict(state, strict=True)
    assert torch.equal(other.augmentation.th_p, torch.full((14,), 0.5))
    for name, value in other.teacher.state_dict().items():
        assert torch.equal(value, teacher[name])


def test_a_teacher_needs_a_checkpoint_that_fits(tmp_path):
    with pytest.raises(ConfigError, match='untrained_teacher=True'):
        build(untrained_teacher=False)
    with pytest.raises(ConfigError, match='does not exist'):
        build(teacher_ckpt=str(tmp_path / 'none.pth'))
    path = tmp_path / 'student.pth'
    other = build_model(tiny_retinanet(), 'here')
    torch.save(dict(state_dict=other.state_dict()), path)
    with pytest.raises(ConfigError, match='does not fit RetinaNet'):
        build(teacher_ckpt=str(path))
    right = build_model(tiny_retinanet(base_channels=16), 'here')
    torch.save(dict(state_dict=right.state_dict()), path)
    model = build(teacher_ckpt=str(path))
    for name, value in right.state_dict().items():
        assert torch.equal(model.teacher.state_dict()[name], value)


def test_images_without_objects_stay_out_of_the_search(model):
    inputs, samples = detection_batch()
    samples[0].gt_instances = samples[0].gt_instances[:0]
    data = dict(
        inputs=[(i * 40 + 120).clamp(0, 255).byte() for i in inputs],
        data_samples=samples,
    )
    kept, kept_samples = model.prepare_search_batch(data)
    assert len(kept) == len(kept_samples) == 1


def test_search_mode_restores_everything(model):
    inputs, samples = detection_batch()
    model.student.bbox_head.retina_reg.bias.requires_grad_(False)
    before = copy.deepcopy(get_state_dict(model))
    flags = {n: m.training for n, m in model.named_modules()}
    grads = {n: p.requires_grad for n, p in model.named_parameters()}
    policy = model.augmentation.policy.leaf()
    draw, _ = model.draw_views(inputs, samples, policy, model.generator)
    with pytest.raises(KeyError), model.search_mode():
        result = model.search_objective(inputs, samples, policy, draw)
        torch.autograd.grad(result.total, policy)
        raise KeyError
    assert all(
        torch.equal(value, before[name])
        for name, value in get_state_dict(model).items()
    )
    assert flags == {n: m.training for n, m in model.named_modules()}
    assert grads == {n: p.requires_grad for n, p in model.named_parameters()}
    assert all(p.grad is None for p in model.parameters())


class SearchCase:
    """Hold a search in float64 with all that is random or labels fixed."""

    def __init__(self):
        self.model = build(
            augmentation=dict(num_operators=14, temperature=2.0)
        ).double()
        # A fresh head says 0.01 to everything; let the image matter.
        for network in (self.model.student, self.model.teacher):
            for layer in network.bbox_head.modules():
                if isinstance(layer, torch.nn.Conv2d):
                    layer.weight.data.mul_(20)
        inputs, samples = detection_batch(batch=1, size=(64, 96))
        self.inputs = inputs.double()
        self.encoder = self.model.augmentation
        sizes = torch.tensor([[64.0, 96.0]], dtype=torch.float64)
        draw = self.encoder.draw(sizes, torch.Generator().manual_seed(3))
        # Gates near 1/2: sigmoid((th + noise) / temperature).
        noise = draw.gate_noise.clamp(-0.3, 0.3)
        self.draw = copy.copy(draw)
        object.__setattr__(self.draw, 'gate_noise', noise)
        generator = torch.Generator().manual_seed(4)
        self.theta = 0.2 * torch.randn(
            25, generator=generator, dtype=torch.float64
        )
        record = self.encoder.resolve(self.draw, self.policy(self.theta))
        assert ((record.gates > 0.3) & (record.gates < 0.7)).all()
        self.samples = apply_to_samples(record, samples)

    @staticmethod
    def policy(theta):
        return Policy(theta[:14], theta[14:])

    def images(self, theta):
        record = self.encoder.resolve(self.draw, self.policy(theta))
        return self.encoder.augment(self.inputs, record)

    def objective(self, theta):
        return self.model.objective(
            self.model.teacher,
            self.model.student,
            self.images(theta),
            self.samples,
        )


@pytest.fixture(scope='module')
def case():
    patch = pytest.MonkeyPatch()
    case = SearchCase()
    with patch.context() as context:
        # Equalize works on bytes: its output is a staircase, which has no
        # gradient in the image but does move under finite differences.
        steps = {}

        def held(raw, *args, **kwargs):
            if 'equalized' not in steps:
                steps['equalized'] = original(raw, *args, **kwargs).detach()
            return steps['equalized']

        original = composition.equalize
        context.setattr(composition, 'equalize', held)
        with case.model.search_mode():
            yield case


def test_policy_gradient_agrees_with_finite_differences(case):
    theta = case.theta.clone().requires_grad_()
    result = case.objective(theta)
    (gradient,) = torch.autograd.grad(result.total, theta)
    step = 1e-5
    for i in range(25):
        plus, minus = case.theta.clone(), case.theta.clone()
        plus[i] += step
        minus[i] -= step
        with torch.no_grad():
            difference = (
                case.objective(plus).total - case.objective(minus).total
            ) / (2 * step)
        assert float(gradient[i]) == pytest.approx(
            float(difference), rel=1e-3, abs=1e-7
        ), i
        assert abs(float(gradient[i])) > 1e-6, f'no gradient for {i}'


@pytest.mark.parametrize('side', ['S', 'T'])
def test_descent_hurts_the_student_and_helps_the_teacher(case, side):
    objective = copy.deepcopy(case.model.objective)
    objective.alpha, objective.beta = (1.0, 0.0) if side == 'T' else (0.0, 1.0)
    network = case.model.teacher if side == 'T' else case.model.student
    theta = case.theta.clone().requires_grad_()
    result = objective(
        case.model.teacher,
        case.model.student,
        case.images(theta),
        case.samples,
    )
    (gradient,) = torch.autograd.grad(result.total, theta)

    def measured(at):
        """Return a real task loss; S is not about the background."""
        images = case.images(at)
        if side == 'S':
            return positives_loss(network, images, case.samples)
        return float(total(network(images, case.samples, mode='loss')))

    moved = case.theta - 1e-3 * gradient / gradient.norm()
    with torch.no_grad():
        change = measured(moved) - measured(case.theta)
    assert change < 0 if side == 'T' else change > 0


def test_an_emptied_batch_has_no_objective(model):
    inputs, samples = detection_batch()
    for sample in samples:
        sample.gt_instances = sample.gt_instances[:0]
    policy = model.augmentation.policy.leaf()
    draw, _ = model.draw_views(inputs, samples, policy, model.generator)
    assert model.search_objective(inputs, samples, policy, draw) is None


@pytest.mark.parametrize(
    'control', ['same_mean', 'permuted', 'randaugment', 'searched']
)
def test_controls_augment(control):
    model = build(policy=control)
    inputs, samples = detection_batch()
    views, both, _ = model.views(inputs, samples)
    assert len(both) == len(views) == 4
    assert torch.equal(views[:2], inputs)
    assert not torch.equal(views[2:], inputs)


def test_unknown_controls_are_refused():
    with pytest.raises(ConfigError, match='randaugment'):
        build(policy='random')


def test_a_replayed_policy_is_not_altered(tmp_path):
    path = tmp_path / 'policy.json'
    rates = {name: float(name == 'Rotate') for name in OPERATORS}
    magnitudes = dict.fromkeys(MAGNITUDE_OPERATORS, 0.25)
    path.write_text(
        json.dumps(dict(probabilities=rates, magnitudes=magnitudes))
    )
    model = build(policy=f'replay:{path}', augmentation=dict(num_operators=14))
    seen = []

    def resolve(draw, policy=None, temperature=None):
        seen.append(policy)
        return type(model.augmentation).resolve(
            model.augmentation, draw, policy, temperature
        )

    model.augmentation.resolve = resolve
    views, _, _ = model.views(*detection_batch())
    assert not torch.equal(views[2:], views[:2])
    for policy in seen:
        expected = torch.tensor(list(rates.values()))
        torch.testing.assert_close(
            policy.probabilities, expected, rtol=0, atol=1e-5
        )
    assert model.augmentation.th_p.eq(0).all()


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (dict(guard=dict(min_kep=0.5)), 'min_kept, min_visible, redraws'),
        (dict(guard=dict(min_kept=2.0)), 'model.guard.min_kept'),
        (dict(guard=dict(redraws=-1)), 'model.guard.redraws'),
        (dict(min_visible=7.0), 'model.min_visible'),
        (dict(objective=dict(teacher_roi_losses=False)), 'teacher_roi_losses'),
        (dict(calculate_student_loss=False), 'model.calculate_student_loss'),
        (dict(teacher_trainable=True), 'SingleTeacherDistill'),
        (
            dict(policy='randaugment', augmentation=dict(preset='paper')),
            "gate='logit'",
        ),
    ],
)
def test_options_that_cannot_be_honored_are_refused(options, words):
    with pytest.raises(ConfigError) as caught:
        build(**options)
    assert words in str(caught.value)


def test_a_loss_that_cannot_be_inverted_is_refused_at_once():
    student = tiny_retinanet()
    student['cfg_options']['bbox_head']['loss_bbox'] = dict(
        type='BalancedL1Loss', _delete_=True
    )
    with pytest.raises(ConfigError, match='BalancedL1Loss') as caught:
        build(architecture=student)
    assert 'bbox_head.loss_bbox' in str(caught.value)


def test_under_bf16_autocast_geometry_stays_in_float32(model):
    records = []
    resolve = model.augmentation.resolve

    def keep(*args, **kwargs):
        records.append(resolve(*args, **kwargs))
        return records[-1]

    model.augmentation.resolve = keep
    inputs, samples = detection_batch()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses = model.loss(inputs, samples)
        head = model.student.bbox_head(model.student.extract_feat(inputs))
    assert head[0][0].dtype == torch.bfloat16  # Autocast was on.
    for record in records:
        assert record.matrix.dtype == torch.float32
        assert record.gates.dtype == torch.float32
    total(losses).backward()
    gradient = model.student.bbox_head.retina_cls.weight.grad
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0


def test_a_checkpoint_is_hardly_larger_than_the_students():
    cfg = Config.fromfile(
        Path(__file__).parents[3]
        / 'configs/_base_/pairs/small_retinanet/tst.py'
    )
    cfg.model.untrained_teacher = True
    with DefaultScope.overwrite_default_scope('mmdet'):
        small = MODELS.build(cfg.model)
    state = get_state_dict(small)

    def size(prefix):
        return sum(
            value.numel() * value.element_size()
            for name, value in state.items()
            if name.startswith(prefix)
        )

    assert size('architecture.') < size('') <= 1.05 * size('architecture.')
