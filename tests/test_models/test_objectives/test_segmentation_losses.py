"""Check against plain loops over pixels, and on mmseg's own heads."""

from __future__ import annotations

import inspect
import math
from functools import cache
from typing import Any

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.models.losses import (
    CrossEntropyLoss,
    FocalLoss,
    OhemCrossEntropy,
)
from torch import Tensor, nn

from mmtst.models.build import build_model
from mmtst.models.objectives.gap import GapObjective
from mmtst.models.objectives.gap_result import GapResult
from mmtst.models.objectives.interception import LossInterceptor
from mmtst.models.objectives.inversion import (
    Average,
    InversionOptions,
    InvertedLoss,
    find_inversion,
)
from mmtst.models.objectives.task_losses import task_losses
from mmtst.models.utils import frozen_parameters, frozen_statistics
from mmtst.testing.segmentation import (
    DEEPLABV3PLUS,
    POINT_REND,
    PSPNET,
    SEGFORMER,
    UPERNET,
    segmentation_batch,
    tiny_segmentor,
)
from mmtst.utils.compat import mend_segmentation_losses
from mmtst.utils.errors import ConfigError

WEIGHTS = [2.0, 3.0, 5.0]
AVERAGES: list[Average] = ['valid', 'loss']

pytestmark = pytest.mark.filterwarnings('ignore:Default ``avg_non_ignore``')


def bind(loss: nn.Module, *args: Any, **kwargs: Any) -> dict[str, Any]:
    bound = inspect.signature(loss.forward).bind(*args, **kwargs)
    bound.apply_defaults()
    return bound.arguments


def invert(
    loss: nn.Module,
    *args: Any,
    average: Average = 'valid',
    **kwargs: Any,
) -> InvertedLoss:
    inversion = find_inversion(loss)
    assert inversion is not None and inversion.kind == 'cls'
    return inversion.positives(
        loss, bind(loss, *args, **kwargs), InversionOptions(average=average)
    )


def reduced(inverted: InvertedLoss) -> float:
    assert inverted.divisor is not None
    total = (inverted.values * inverted.weights).sum()
    return (total / inverted.divisor).item()


def watched(loss: nn.Module, *args: Any, **kwargs: Any) -> float:
    """Return the loss as the teacher's side counts it."""
    inversion = find_inversion(loss)
    assert inversion is not None
    output = loss(*args, **kwargs)
    if inversion.valid is not None:
        output = inversion.valid(loss, bind(loss, *args, **kwargs), output)
    return float(output.detach().mean())


def maps(
    channels: int = 3, ignored: int = 255
) -> tuple[Tensor, Tensor, list[tuple[list[float], int]]]:
    """Return logits, labels, and (scores, label) of what has a label."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(2, channels, 4, 5, generator=generator).double()
    labels = torch.randint(max(channels, 2), (2, 4, 5), generator=generator)
    labels[0, 0] = ignored
    labels[1, 2:, 3] = ignored
    pixels = [
        (logits[n, :, y, x].tolist(), int(labels[n, y, x]))
        for n in range(2)
        for y in range(4)
        for x in range(5)
        if labels[n, y, x] != ignored
    ]
    return logits, labels, pixels


def softmax_score(scores: list[float], label: int) -> float:
    return math.exp(scores[label]) / sum(math.exp(x) for x in scores)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


# Cross entropy -------------------------------------------------------------


@pytest.mark.parametrize('average', AVERAGES)
@pytest.mark.parametrize('classes', [None, WEIGHTS])
@pytest.mark.parametrize('reduction', ['mean', 'sum', 'none'])
@pytest.mark.parametrize('non_ignore', [False, True])
def test_softmax_pixel_by_pixel(
    average: Average,
    classes: list[float] | None,
    reduction: str,
    non_ignore: bool,
) -> None:
    logits, labels, pixels = maps()
    loss = CrossEntropyLoss(
        class_weight=classes, reduction=reduction, avg_non_ignore=non_ignore
    )
    mend_segmentation_losses(loss)
    total = sum(
        (1 if classes is None else classes[label])
        * -math.log(1 - softmax_score(scores, label))
        for scores, label in pixels
    )
    usual = sum(
        (1 if classes is None else classes[label])
        * -math.log(softmax_score(scores, label))
        for scores, label in pixels
    )
    by_class = sum((classes or [1] * 3)[label] for _, label in pixels)
    count, number = len(pixels), labels.numel()
    if reduction == 'sum':
        divisors = {'loss': 1.0, 'valid': count / number}
    elif reduction == 'mean' and classes is not None:
        divisors = {'loss': by_class, 'valid': by_class}
    elif reduction == 'mean' and non_ignore:
        divisors = {'loss': count, 'valid': count}
    else:
        divisors = {'loss': number, 'valid': count}
    arguments = (logits, labels)
    result = invert(loss, *arguments, ignore_index=255, average=average)
    assert len(result.values) == count
    assert reduced(result) == pytest.approx(total / divisors[average])
    # Both players' sides in the same proportion to what their loss says.
    own = float(loss(*arguments, ignore_index=255).mean())
    assert own == pytest.approx(usual / divisors['loss'], rel=1e-6)
    assert watched(loss, *arguments, ignore_index=255) == pytest.approx(
        usual / divisors['valid'], rel=1e-6
    )


@pytest.mark.parametrize('average', AVERAGES)
@pytest.mark.parametrize('classes', [None, WEIGHTS])
def test_sigmoid_takes_the_labels_channel(
    average: Average, classes: list[float] | None
) -> None:
    logits, labels, pixels = maps()
    loss = CrossEntropyLoss(use_sigmoid=True, class_weight=classes)
    mend_segmentation_losses(loss)
    total = sum(
        (1 if classes is None else classes[label])
        * -math.log(1 - sigmoid(scores[label]))
        for scores, label in pixels
    )
    result = invert(loss, logits, labels, ignore_index=255, average=average)
    count = len(pixels) if average == 'valid' else labels.numel()
    assert reduced(result) == pytest.approx(total / (3 * count))
    assert result.score is not None
    own = float(loss(logits, labels, ignore_index=255))
    assert watched(loss, logits, labels, ignore_index=255) == pytest.approx(
        own * labels.numel() / len(pixels)
    )


@pytest.mark.parametrize('average', AVERAGES)
def test_one_channel_takes_the_foreground(average: Average) -> None:
    logits, labels, pixels = maps(1)
    loss = CrossEntropyLoss(use_sigmoid=True)
    values = [
        -math.log(1 - sigmoid(scores[0])) for scores, label in pixels if label
    ]
    result = invert(loss, logits, labels, ignore_index=255, average=average)
    assert result.values.tolist() == pytest.approx(values)
    count = len(values) if average == 'valid' else labels.numel()
    assert reduced(result) == pytest.approx(sum(values) / count)
    assert result.top is not None and result.top.all()


def test_a_table_of_targets_takes_what_is_present() -> None:
    logits = torch.tensor([[0.5, -1.0, 2.0], [0.0, 1.0, -2.0]])
    targets = torch.tensor([[1, 0, 1], [0, 0, 0]])
    result = invert(CrossEntropyLoss(use_sigmoid=True), logits, targets)
    values = [-math.log(1 - sigmoid(x)) for x in (0.5, 2.0)]
    assert result.values.tolist() == pytest.approx(values)
    assert reduced(result) == pytest.approx(sum(values) / 2 / 3)
    assert result.top is None and result.key is None


def test_class_weights_of_a_table_lie_along_its_classes() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 3, 2, 3, generator=generator)
    targets = (torch.rand(1, 3, 2, 3, generator=generator) > 0.5).long()
    loss = CrossEntropyLoss(use_sigmoid=True, class_weight=[1.0, 2.0, 5.0])
    result = invert(loss, logits, targets)
    classes = targets.nonzero()[:, 1].tolist()
    assert result.weights.tolist() == [[1.0, 2.0, 5.0][c] for c in classes]


@pytest.mark.parametrize('use_sigmoid', [False, True])
def test_pixel_weights_and_a_divisor_of_the_caller(use_sigmoid: bool) -> None:
    logits, labels, pixels = maps()
    loss = CrossEntropyLoss(use_sigmoid=use_sigmoid)
    weight = torch.arange(labels.numel()).reshape(labels.shape) % 3
    chosen = weight[labels != 255].tolist()
    score = (lambda s, y: sigmoid(s[y])) if use_sigmoid else softmax_score
    total = sum(
        w * -math.log(1 - score(*pixel))
        for w, pixel in zip(chosen, pixels, strict=True)
    )
    arguments: dict[str, Any] = dict(weight=weight.double(), ignore_index=255)
    result = invert(loss, logits, labels, **arguments)
    channels = 3 if use_sigmoid else 1
    assert reduced(result) == pytest.approx(total / len(pixels) / channels)
    assert result.key is not None and result.key.shape[1] == 2
    for average in AVERAGES:
        result = invert(
            loss, logits, labels, avg_factor=7.0, average=average, **arguments
        )
        assert reduced(result) == pytest.approx(total / 7)


def test_points_are_inverted_too() -> None:
    logits, labels, pixels = maps()
    result = invert(
        CrossEntropyLoss(),
        logits.flatten(2),
        labels.flatten(1),
        ignore_index=255,
    )
    assert len(result.values) == len(pixels) and result.key is None


def test_half_precision_is_raised() -> None:
    logits, labels, _ = maps()
    result = invert(
        CrossEntropyLoss(), logits.half(), labels, ignore_index=255
    )
    assert result.values.dtype == torch.float32


def test_the_reference_codes_form() -> None:
    logits, labels, pixels = maps()
    loss = CrossEntropyLoss(loss_weight=0.4)
    inversion = find_inversion(loss)
    assert inversion is not None and inversion.official is not None
    arguments = bind(loss, logits, labels, ignore_index=255)
    total = sum(
        -math.log(1 - softmax_score(scores, label) + 1e-10)
        for scores, label in pixels
    )
    assert inversion.official(loss, arguments, logits).item() == pytest.approx(
        0.4 * total / logits.numel()
    )
    loss = CrossEntropyLoss(use_sigmoid=True)
    with pytest.raises(ConfigError, match='sigmoid'):
        inversion.official(loss, arguments, logits)


def test_other_criteria_and_rows_are_refused() -> None:
    logits, labels, _ = maps()
    with pytest.raises(ConfigError, match='mask_cross_entropy'):
        invert(CrossEntropyLoss(use_mask=True), logits, labels)
    foreign = CrossEntropyLoss()
    foreign.cls_criterion = torch.nn.functional.cross_entropy
    with pytest.raises(ConfigError, match='not one of pixels'):
        invert(foreign, logits, labels)
    for targets in (labels[0, 0], labels.double().expand(3, 2, 4, 5)):
        with pytest.raises(ConfigError, match='label maps only'):
            invert(CrossEntropyLoss(), logits[:, :, 0, 0], targets)
    # What only watches is left as it is.
    foreign_inversion = find_inversion(foreign)
    assert foreign_inversion is not None
    assert foreign_inversion.valid is not None
    arguments = bind(foreign, logits, labels)
    output = torch.tensor(2.0)
    assert foreign_inversion.valid(foreign, arguments, output) is output


# Focal and mined losses ----------------------------------------------------


@pytest.mark.parametrize('average', AVERAGES)
def test_focal_pixel_by_pixel(average: Average) -> None:
    logits, labels, pixels = maps()
    loss = FocalLoss(class_weight=WEIGHTS)
    total = sum(
        WEIGHTS[label] * -math.log(1 - sigmoid(scores[label]))
        for scores, label in pixels
    )
    count = len(pixels) if average == 'valid' else labels.numel()
    result = invert(loss, logits, labels, ignore_index=255, average=average)
    assert reduced(result) == pytest.approx(total / count / 3)
    inversion = find_inversion(loss)
    assert inversion is not None and inversion.valid is not None
    arguments = bind(loss, logits, labels, ignore_index=255)
    output = inversion.valid(loss, arguments, torch.tensor(1.0))
    assert output.item() == pytest.approx(labels.numel() / len(pixels))


def test_focal_of_one_hot_targets_and_their_weights() -> None:
    logits, labels, _ = maps()
    labels = labels.clamp(max=2)
    targets = torch.nn.functional.one_hot(labels, 3).movedim(-1, 1)
    plain = invert(FocalLoss(), logits, labels)
    result = invert(FocalLoss(), logits, targets)
    assert torch.equal(plain.values, result.values)
    assert watched(FocalLoss(), logits, targets) == pytest.approx(
        float(FocalLoss()(logits, targets))
    )
    weight = torch.rand(labels.numel(), 3).double()
    result = invert(FocalLoss(), logits, labels, weight=weight)
    expected = [
        row[int(y)].item()
        for row, y in zip(weight, labels.flatten(), strict=True)
    ]
    assert result.weights.tolist() == pytest.approx(expected)


@pytest.mark.parametrize('average', AVERAGES)
def test_focal_of_one_channel(average: Average) -> None:
    logits, labels, pixels = maps(1)
    values = [
        -math.log(1 - sigmoid(scores[0])) for scores, label in pixels if label
    ]
    for targets, ignored in (
        (labels, 255),
        ((labels == 1).long()[:, None], 9),
    ):
        result = invert(
            FocalLoss(),
            logits,
            targets,
            ignore_index=ignored,
            average=average,
        )
        assert result.values.tolist() == pytest.approx(values)
        count = len(values) if average == 'valid' else labels.numel()
        assert reduced(result) == pytest.approx(sum(values) / count)


@pytest.mark.parametrize('average', AVERAGES)
def test_mined_cross_entropy_takes_every_pixel(average: Average) -> None:
    logits, labels, pixels = maps()
    loss = OhemCrossEntropy(thres=0.5, min_kept=3, class_weight=WEIGHTS)
    total = sum(
        WEIGHTS[label] * -math.log(1 - softmax_score(scores, label))
        for scores, label in pixels
    )
    result = invert(loss, logits, labels, average=average)
    assert reduced(result) == pytest.approx(total / len(pixels))
    assert watched(loss, logits, labels) == float(loss(logits, labels))


@pytest.mark.parametrize('average', AVERAGES)
@pytest.mark.parametrize(
    'loss',
    [
        CrossEntropyLoss(),
        CrossEntropyLoss(avg_non_ignore=True),
        CrossEntropyLoss(class_weight=WEIGHTS),
        CrossEntropyLoss(use_sigmoid=True),
        CrossEntropyLoss(use_sigmoid=True, avg_non_ignore=True),
        OhemCrossEntropy(),
    ],
)
def test_nothing_labelled_is_zero_with_a_graph(
    loss: nn.Module, average: Average
) -> None:
    mend_segmentation_losses(loss)
    for channels in (3, 1):
        logits, labels, _ = maps(channels)
        if channels == 1 and not getattr(loss, 'use_sigmoid', False):
            continue
        parts = [(logits, torch.full_like(labels, 255))]
        keywords = dict(ignore_index=255)
        if isinstance(loss, OhemCrossEntropy):
            keywords = {}
        for scores, nothing in parts:
            scores.requires_grad_()
            result = invert(loss, scores, nothing, average=average, **keywords)
            (slope,) = torch.autograd.grad(result.values.sum(), scores)
            assert not slope.any()
            assert watched(loss, scores, nothing, **keywords) == 0.0


# Heads ---------------------------------------------------------------------


@cache
def segmentor(path: str = PSPNET, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_model(tiny_segmentor(path), 'test')


def fresh(options: dict[str, Any], seed: int = 0) -> nn.Module:
    """Return a PSPNet with other losses in its head."""
    reference = tiny_segmentor()
    reference['cfg_options']['decode_head'].update(options)
    reference['cfg_options']['auxiliary_head'] = None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_model(reference, 'test')
    mend_segmentation_losses(model)
    return model


def run(
    teacher: nn.Module,
    student: nn.Module,
    inputs: Tensor,
    samples: Any,
    **options: Any,
) -> GapResult:
    with (
        frozen_statistics(teacher, student),
        frozen_parameters(teacher, student),
    ):
        result: GapResult = GapObjective(**options)(
            teacher, student, inputs, samples
        )
    return result


def loss_of(name: str, **options: Any) -> dict[str, Any]:
    return dict(type=name, **options)


@pytest.mark.parametrize(
    'path', [PSPNET, UPERNET, SEGFORMER, DEEPLABV3PLUS, POINT_REND]
)
@pytest.mark.parametrize('average', AVERAGES)
def test_standard_heads_are_understood(path: str, average: Average) -> None:
    student, teacher = segmentor(path), segmentor(path, seed=1)
    inputs, samples = segmentation_batch()
    inputs.requires_grad_()
    GapObjective().check(student)
    result = run(teacher, student, inputs, samples, average=average)
    assert result.parts['T_other'].abs() < 1e-5
    assert result.parts['S_other'] == 0 and result.parts['S_cls'] > 0
    (slope,) = torch.autograd.grad(result.total, inputs)
    assert slope.isfinite().all() and slope.any()
    # Half of 2 x 64 x 96 pixels, less 8 rows each; points are no map.
    if path == POINT_REND:
        assert result.gap_rate is None
    else:
        assert result.positives == 2 * 56 * 96
        assert result.gap_rate is not None


def test_an_auxiliary_head_may_be_on_one_side_only() -> None:
    student, teacher = segmentor(SEGFORMER), segmentor()
    result = run(teacher, student, *segmentation_batch())
    assert result.positives == 2 * 56 * 96
    assert result.gap_rate is not None


def test_the_objective_of_a_segmentor_by_its_formula() -> None:
    student, teacher = segmentor(), segmentor(seed=1)
    inputs, samples = segmentation_batch(ignore_rows=16)
    result = run(teacher, student, inputs, samples, alpha=0.5, beta=2.0)
    with frozen_statistics(teacher, student), torch.no_grad():
        losses = task_losses(teacher(inputs, samples, mode='loss'))
        labels = torch.stack([s.gt_sem_seg.data[0] for s in samples])
        inverted = 0.0
        features = student.extract_feat(inputs)
        for head, weight in (
            (student.decode_head, 1.0),
            (student.auxiliary_head, 0.4),
        ):
            logits = torch.nn.functional.interpolate(
                head(features), labels.shape[1:], mode='bilinear'
            )
            scores = logits.softmax(dim=1)
            values = [
                -math.log(1 - scores[n, labels[n, y, x], y, x].item())
                for n in range(2)
                for y in range(0, 48)
                for x in range(96)
            ]
            inverted += weight * sum(values) / len(values)
    teachers = sum(losses.values()) * 64 / 48
    assert result.parts['T_cls'].item() == pytest.approx(float(teachers), 1e-4)
    assert result.parts['S_cls'].item() == pytest.approx(inverted, 1e-4)
    assert result.total.item() == pytest.approx(
        0.5 * float(teachers) + 2.0 * inverted, 1e-4
    )


@pytest.mark.parametrize('average', AVERAGES)
def test_finite_differences_through_a_segmentor(average: Average) -> None:
    student = fresh({}).double()
    teacher = fresh({}, seed=1).double()
    inputs, samples = segmentation_batch()
    inputs = inputs.double().requires_grad_()
    result = run(teacher, student, inputs, samples, average=average)
    (slope,) = torch.autograd.grad(result.total, inputs)
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(inputs.shape, generator=generator).double()
    eps = 1e-6
    ends = [
        run(
            teacher,
            student,
            (inputs + sign * eps * direction).detach(),
            samples,
            average=average,
        ).total.item()
        for sign in (1, -1)
    ]
    numeric = (ends[0] - ends[1]) / (2 * eps)
    assert (slope * direction).sum().item() == pytest.approx(numeric, rel=1e-4)


def test_each_player_is_paid_its_way() -> None:
    model = segmentor()
    inputs, samples = segmentation_batch()
    for alpha, beta in ((1.0, 0.0), (0.0, 1.0)):
        images = inputs.clone().requires_grad_()
        options = dict(alpha=alpha, beta=beta)
        before = run(model, model, images, samples, **options)
        (slope,) = torch.autograd.grad(before.total, images)
        step = 10 * slope / slope.norm()
        with frozen_statistics(model), torch.no_grad():
            usual = [
                float(task_losses(model(x, samples, mode='loss'))[name])
                for x in (inputs, inputs - step)
                for name in ('decode.loss_ce',)
            ]
        # Downhill for the teacher is right, for the student wrong.
        assert (usual[1] < usual[0]) == (alpha > 0)


def test_emptied_images_win_only_as_the_loss_averages() -> None:
    student, teacher = segmentor(), segmentor(seed=1)
    inputs, samples = segmentation_batch(ignore_rows=0)
    emptied = [sample.clone() for sample in samples]
    for sample in emptied:
        labels = sample.gt_sem_seg.data.clone()
        labels[:, 16:] = 255
        sample.gt_sem_seg = PixelData(data=labels)
    totals = {
        average: [
            run(teacher, student, inputs, y, average=average).total.item()
            for y in (samples, emptied)
        ]
        for average in AVERAGES
    }
    assert totals['valid'][0] == pytest.approx(totals['loss'][0], rel=1e-5)
    assert totals['loss'][1] < 0.3 * totals['loss'][0]
    assert totals['valid'][1] == pytest.approx(4 * totals['loss'][1], 1e-4)


@pytest.mark.parametrize('average', AVERAGES)
@pytest.mark.parametrize(
    'loss',
    [
        [
            loss_of('CrossEntropyLoss', class_weight=[1.0, 2.0, 3.0, 4.0]),
            loss_of('DiceLoss', loss_weight=3.0),
            loss_of('LovaszLoss', per_image=True),
        ],
        [
            loss_of('LovaszLoss', reduction='none'),
            loss_of('TverskyLoss'),
            loss_of('CrossEntropyLoss', use_sigmoid=True),
        ],
    ],
)
def test_nothing_labelled_gives_finite_objectives(
    loss: list[dict[str, Any]], average: Average
) -> None:
    model = fresh(dict(loss_decode=loss))
    inputs, samples = segmentation_batch(ignore_rows=64)
    inputs.requires_grad_()
    result = run(model, model, inputs, samples, average=average)
    if average == 'valid':
        assert result.total.item() == 0.0
    (slope,) = torch.autograd.grad(result.total, inputs)
    assert slope.isfinite().all()
    assert result.positives == 0 and result.gap_rate is None
    assert math.isfinite(result.total.item())
    losses = task_losses(model(inputs.detach(), samples, mode='loss'))
    assert all(bool(value.isfinite()) for value in losses.values())


@pytest.mark.parametrize(('names', 'kept'), [(('a', 'b'), 2), (('a', 'a'), 1)])
def test_losses_of_one_name_are_told_apart(
    names: tuple[str, str], kept: int
) -> None:
    losses = [
        loss_of('CrossEntropyLoss', loss_name=f'loss_{names[0]}'),
        loss_of('DiceLoss', loss_name=f'loss_{names[1]}', loss_weight=0.5),
    ]
    model = fresh(dict(loss_decode=losses))
    inputs, samples = segmentation_batch()
    own = task_losses(model(inputs, samples, mode='loss'))
    assert len(own) == kept
    with frozen_statistics(model):
        watching = LossInterceptor(
            model, 'watch', InversionOptions(average='loss')
        )
        with watching:
            losses_now = task_losses(model(inputs, samples, mode='loss'))
        assert not watching.escaped(losses_now)
        total = sum(losses_now.values(), torch.zeros(()))
        part = watching.parts_of(total)['cls']
    assert part is not None
    assert part.item() == pytest.approx(total.item(), rel=1e-5)
    result = run(model, model, inputs, samples)
    assert abs(result.parts['T_other'].item()) < 1e-5
    assert result.parts['S_other'].item() == 0.0


@pytest.mark.parametrize('thresh', [None, 0.3])
def test_a_sampler_of_hard_pixels(thresh: float | None) -> None:
    """It calls the losses without gradients; the hooks let these pass."""
    sampler = dict(type='OHEMPixelSampler', thresh=thresh, min_kept=500)
    model = fresh(dict(sampler=sampler))
    inputs, samples = segmentation_batch()
    with frozen_statistics(model):
        caught = LossInterceptor(model, 'invert')
        with caught:
            losses = task_losses(model(inputs, samples, mode='loss'))
    assert not caught.escaped(losses)
    (call,) = caught.calls
    assert call.inverted is not None and call.inverted.divisor is not None
    assert call.inverted.divisor.item() == 2 * 56 * 96
    kept = int((call.inverted.weights > 0).sum())
    assert kept == 1000 if thresh is None else kept >= 1000
    teacher = fresh(dict(sampler=sampler), seed=1)
    result = run(teacher, model, inputs, samples)
    assert result.positives == kept and result.total.isfinite()
    # The two have been asked of pixels of their own.
    assert run(model, model, inputs, samples).gap_rate == 0.0
    if thresh is None:
        assert result.gap_rate is None


def test_heads_with_boundaries_are_refused_by_name() -> None:
    model = fresh(
        dict(
            loss_decode=[
                loss_of('CrossEntropyLoss'),
                loss_of('BoundaryLoss'),
            ]
        )
    )
    with pytest.raises(ConfigError) as caught:
        GapObjective().check(model)
    assert 'student.decode_head.loss_decode.1' in str(caught.value)
    assert 'edge maps' in str(caught.value)


def test_the_official_mode_runs_and_averages_its_own_way() -> None:
    student, teacher = segmentor(), segmentor(seed=1)
    inputs, samples = segmentation_batch()
    inputs.requires_grad_()
    result = run(teacher, student, inputs, samples, mode='official')
    plain = run(teacher, student, inputs, samples, average='loss')
    assert result.parts['T_cls'].item() == pytest.approx(
        plain.parts['T_cls'].item()
    )
    # Four classes: the mean over them too, which the default leaves out.
    assert result.parts['S_cls'].item() == pytest.approx(
        plain.parts['S_cls'].item() / 4, rel=1e-4
    )
    (slope,) = torch.autograd.grad(result.total, inputs)
    assert slope.isfinite().all() and slope.any()
