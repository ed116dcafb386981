"""Check DenseKLLoss against loops written from its formula."""

import math

import pytest
import torch
from mmengine.logging import MMLogger

from mmtst.models.losses import DenseKLLoss
from mmtst.utils.errors import ConfigError


def oracle_softmax(student, teacher, tau, classes=None):
    """Average tau^2 sum_c t_c log(t_c / s_c) over positions, in loops."""
    total, rows = 0.0, 0
    batch, channels, height, width = student.shape
    size = classes or channels
    for b in range(batch):
        for y in range(height):
            for x in range(width):
                for start in range(0, channels, size):
                    part = slice(start, start + size)
                    s = torch.softmax(student[b, part, y, x] / tau, 0)
                    t = torch.softmax(teacher[b, part, y, x] / tau, 0)
                    total += float((t * (t / s).log()).sum())
                    rows += 1
    return tau**2 * total / rows


@pytest.mark.parametrize('tau', [1.0, 4.0])
@pytest.mark.parametrize('classes', [None, 3])
def test_agrees_with_loops(tau, classes):
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(2, 6, 3, 4, generator=generator, dtype=torch.float64)
    teacher = torch.randn(2, 6, 3, 4, generator=generator, dtype=torch.float64)
    form = 'per_anchor_softmax' if classes else 'softmax'
    loss = DenseKLLoss(tau=tau, form=form, num_classes=classes)
    expected = oracle_softmax(student, teacher, tau, classes)
    assert float(loss(student, teacher)) == pytest.approx(expected, rel=1e-9)


def test_sigmoid_by_hand():
    # One position, one channel: teacher p = 3/4, student p = 1/2, so
    # KL = 3/4 log(3/2) + 1/4 log(1/2).
    teacher = torch.full((1, 1, 1, 1), math.log(3.0))
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    for form in ('sigmoid', 'softmax'):
        loss = DenseKLLoss(form=form)(torch.zeros(1, 1, 1, 1), teacher)
        assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_levels_are_summed_and_weighted():
    first, second = torch.randn(1, 4, 2, 2), torch.randn(1, 4, 1, 1)
    teachers = [torch.zeros_like(first), torch.zeros_like(second)]
    loss = DenseKLLoss()
    alone = loss(first, teachers[0]) + loss(second, teachers[1])
    both = DenseKLLoss(loss_weight=3.0)([first, second], teachers)
    torch.testing.assert_close(both, 3 * alone)


def test_equal_logits_give_exactly_zero():
    logits = torch.randn(2, 6, 4, 4)
    for form in ('softmax', 'sigmoid'):
        assert float(DenseKLLoss(form=form)(logits, logits)) == 0.0


def test_gradient_pulls_the_student_and_spares_the_teacher():
    student = torch.zeros(1, 2, 1, 1, requires_grad=True)
    teacher = torch.tensor([2.0, 0.0]).view(1, 2, 1, 1).requires_grad_()
    DenseKLLoss()(student, teacher).backward()
    # The teacher favours class 0, so descent must raise its logit.
    assert student.grad[0, 0] < 0 < student.grad[0, 1]
    assert teacher.grad is None


@pytest.mark.parametrize(
    'options',
    [
        dict(form='kl'),
        dict(tau=0.0),
        dict(num_classes=3),
        dict(form='per_anchor_softmax'),
    ],
)
def test_bad_options_are_refused(options):
    with pytest.raises(ConfigError, match='where'):
        DenseKLLoss(**options)


def test_shapes_must_agree():
    loss = DenseKLLoss()
    with pytest.raises(ValueError, match='2 levels, the teacher 1'):
        loss([torch.zeros(1, 2, 1, 1)] * 2, [torch.zeros(1, 2, 1, 1)])
    with pytest.raises(ValueError, match='strides must agree'):
        loss(torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 1, 1))
    uneven = DenseKLLoss(form='per_anchor_softmax', num_classes=4)
    with pytest.raises(ValueError, match='no multiple of num_classes=4'):
        uneven(torch.zeros(1, 6, 1, 1), torch.zeros(1, 6, 1, 1))


def test_teacher_maps_are_resized_on_request_and_the_log_says_so(caplog):
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(1, 3, 4, 6, generator=generator).requires_grad_()
    teacher = torch.randn(1, 3, 2, 3, generator=generator)
    with pytest.raises(ValueError, match='strides must agree'):
        DenseKLLoss()(student, teacher)
    logger = MMLogger.get_instance('resize')
    logger.addHandler(caplog.handler)
    loss = DenseKLLoss(resize=True)
    value = loss(student, teacher)
    loss(student, teacher)
    (line,) = [r for r in caplog.records if 'resized' in r.message]
    assert '(2, 3)' in line.message and '(4, 6)' in line.message
    bigger = torch.nn.functional.interpolate(
        teacher, size=(4, 6), mode='bilinear', align_corners=False
    )
    expected = oracle_softmax(student.detach(), bigger, 1.0)
    assert float(value.detach()) == pytest.approx(expected, rel=1e-4)
    value.backward()
    assert student.grad.abs().sum() > 0
    # Where the sizes agree nothing changes; other differences are errors.
    torch.testing.assert_close(loss(student, bigger), value)
    with pytest.raises(ValueError, match='level 0'):
        loss(student, teacher[:, :2])
