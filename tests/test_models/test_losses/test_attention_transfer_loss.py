"""Check AttentionTransferLoss against loops written from the formula."""

import math

import mmtst  # noqa: F401  isort: skip
import pytest
import torch
import torch.nn.functional as F
from mmrazor.models.losses import ATLoss

from mmtst.models.losses import AttentionTransferLoss
from mmtst.utils.errors import ConfigError


def draw(shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=dtype)


def attention(image):
    """List the cells' attention of one image (C, H, W), of length 1."""
    channels, height, width = image.shape
    cells = [
        sum(float(image[c, y, x]) ** 2 for c in range(channels)) / channels
        for y in range(height)
        for x in range(width)
    ]
    length = math.sqrt(sum(cell**2 for cell in cells))
    return [cell / length for cell in cells]


def oracle(student, teacher):
    errors = []
    for s, t in zip(student, teacher, strict=True):
        pairs = zip(attention(s), attention(t), strict=True)
        errors += [(a - b) ** 2 for a, b in pairs]
    return sum(errors) / len(errors)


@pytest.mark.parametrize('seed', [0, 1, 2])
def test_agrees_with_loops(seed):
    # Widths may differ.
    student, teacher = draw((2, 3, 4, 5), seed), draw((2, 7, 4, 5), seed + 9)
    loss = AttentionTransferLoss(loss_weight=3.0)
    expected = 3 * oracle(student, teacher)
    assert float(loss(student, teacher)) == pytest.approx(expected, rel=1e-9)


def test_by_hand():
    # Two cells, one channel. Student (1, 2): squares (1, 4), of length
    # sqrt(17); teacher (1, 1): a = (1, 1) / sqrt(2). Squares of the
    # differences sum to 2 - 2 (1 + 4) / sqrt(34), over two cells.
    student = torch.tensor([[[[1.0, 2.0]]]])
    teacher = torch.tensor([[[[1.0, 1.0]]]])
    expected = 1000 * (1 - 5 / math.sqrt(34))
    loss = AttentionTransferLoss()(student, teacher)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_of_one_stage_it_is_mmrazors():
    student, teacher = draw((2, 3, 4, 4), 0), draw((2, 5, 4, 4), 1)
    mine = AttentionTransferLoss(7.0)([student], [teacher])
    torch.testing.assert_close(mine, ATLoss(7.0)(student, teacher))


def test_stages_are_summed_and_may_be_left_out():
    students = [draw((2, 3, size, size), size) for size in (8, 4, 2)]
    teachers = [draw((2, 6, size, size), 10 + size) for size in (8, 4, 2)]
    parts = [oracle(s, t) for s, t in zip(students, teachers, strict=True)]
    value = AttentionTransferLoss(1.0)(students, teachers)
    assert float(value) == pytest.approx(sum(parts), rel=1e-9)
    two = AttentionTransferLoss(1.0, num_levels=2)(students, teachers)
    assert float(two) == pytest.approx(sum(parts[:2]), rel=1e-9)


@pytest.mark.parametrize('student_is_larger', [True, False])
def test_the_larger_map_is_averaged_down(student_is_larger):
    large, small = draw((2, 3, 8, 8), 0), draw((2, 3, 4, 4), 1)
    shrunk = F.avg_pool2d(large, 2)
    loss = AttentionTransferLoss(1.0)
    if student_is_larger:
        value, expected = loss([large], [small]), oracle(shrunk, small)
    else:
        value, expected = loss([small], [large]), oracle(small, shrunk)
    assert float(value) == pytest.approx(expected, rel=1e-9)


def test_a_step_down_the_gradient_helps_and_the_teacher_is_spared():
    student = draw((2, 3, 4, 4), 0).requires_grad_()
    teacher = draw((2, 5, 4, 4), 1).requires_grad_()
    loss = AttentionTransferLoss()
    before = loss([student], [teacher])
    before.backward()
    assert teacher.grad is None
    step = 1e-3 / float(student.grad.norm())
    after = loss([student.detach() - step * student.grad], [teacher.detach()])
    assert float(after) < float(before.detach())


def test_scale_does_not_matter():
    student = draw((2, 3, 4, 4))
    value = AttentionTransferLoss()(student, 5 * student)
    assert float(value) == pytest.approx(0.0, abs=1e-12)


def test_half_precision_is_computed_in_float32():
    # Squares of 300 do not fit float16; the sizes differ.
    student = (300 * draw((2, 3, 8, 8), 0)).half()
    teacher = (300 * draw((2, 3, 4, 4), 1)).half()
    loss = AttentionTransferLoss()
    value = loss(student, teacher)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(student.float(), teacher.float()))


def test_channels_last_features_give_the_same():
    student, teacher = draw((2, 3, 4, 4), 0), draw((2, 5, 4, 4), 1)
    loss = AttentionTransferLoss()
    last = dict(memory_format=torch.channels_last)
    value = loss(student.contiguous(**last), teacher.contiguous(**last))
    torch.testing.assert_close(value, loss(student, teacher))


def test_what_cannot_be_paired_is_refused():
    loss = AttentionTransferLoss()
    stages = [draw((2, 3, 4, 4))] * 3
    with pytest.raises(ValueError, match='3 levels, the teacher 2'):
        loss(stages, stages[:2])
    with pytest.raises(ValueError, match='level 0'):
        loss(stages[0], stages[0][:1])
    with pytest.raises(ValueError, match='num_levels is 4'):
        AttentionTransferLoss(num_levels=4)(stages, stages)
    with pytest.raises(ConfigError, match='num_levels'):
        AttentionTransferLoss(num_levels=0)
