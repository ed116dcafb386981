"""Check ReviewKDLoss against loops written from its formula."""

import pytest
import torch

from mmtst.models.losses import ReviewKDLoss
from mmtst.utils.errors import ConfigError


def draw(shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=dtype)


def average(features, size):
    """Average a map to size x size cells; its sides are multiples."""
    batch, channels, height, width = features.shape
    out = torch.zeros(batch, channels, size, size, dtype=features.dtype)
    for y in range(size):
        for x in range(size):
            rows = slice(y * height // size, (y + 1) * height // size)
            columns = slice(x * width // size, (x + 1) * width // size)
            out[:, :, y, x] = features[:, :, rows, columns].mean((2, 3))
    return out


def squares(student, teacher):
    errors = [
        (float(s) - float(t)) ** 2
        for s, t in zip(student.flatten(), teacher.flatten(), strict=True)
    ]
    return sum(errors) / len(errors)


def oracle(student, teacher):
    """Weight the map and its averages by 1, 1/2, 1/4 and 1/8."""
    total, weight, weights = squares(student, teacher), 1.0, 1.0
    for size in (4, 2, 1):
        if size < min(student.shape[2:]):
            weight = weight / 2
            weights = weights + weight
            total = total + weight * squares(
                average(student, size), average(teacher, size)
            )
    return total / weights


@pytest.mark.parametrize('shape', [(2, 3, 8, 8), (2, 3, 4, 4), (1, 2, 8, 16)])
@pytest.mark.parametrize('seed', [0, 1])
def test_a_level_agrees_with_loops(shape, seed):
    student, teacher = draw(shape, seed), draw(shape, seed + 5)
    loss = ReviewKDLoss(loss_weight=3.0, pooled=False)
    expected = 3 * oracle(student, teacher)
    assert float(loss([student], [teacher])) == pytest.approx(expected)


@pytest.mark.parametrize('sizes', [(8, 4, 2), (16, 8, 4, 2)])
def test_levels_are_summed_with_the_pooled_one(sizes):
    teachers = [draw((2, 3, s, s), s) for s in sizes]
    students = [draw((2, 3, s, s), 20 + s) for s in (*sizes, 1)]
    pooled = teachers[-1].mean((2, 3), keepdim=True)
    expected = sum(
        oracle(s, t)
        for s, t in zip(students, [*teachers, pooled], strict=True)
    )
    value = ReviewKDLoss()(students, teachers)
    assert float(value) == pytest.approx(expected, rel=1e-9)


def test_by_hand():
    # One map of 2 x 2, errors (2, 0, 0, 0): mean square 1; their average is
    # 1/2, squared 1/4. Weights 1 and 1/2: (1 + 1/8) / (3/2) = 3/4.
    student = torch.tensor([[[[2.0, 0.0], [0.0, 0.0]]]])
    loss = ReviewKDLoss(pooled=False)
    assert float(loss(student, torch.zeros(1, 1, 2, 2))) == 0.75
    # One cell: its square.
    assert float(loss(student[..., :1, :1], torch.zeros(1, 1, 1, 1))) == 4.0


def test_stages_beyond_the_levels_count_for_the_pooled_one_alone():
    teachers = [draw((2, 3, s, s), s) for s in (8, 4, 2)]
    students = [draw((2, 3, s, s), 20 + s) for s in (8, 1)]
    value = ReviewKDLoss(num_levels=1)(students, teachers)
    pooled = teachers[2].mean((2, 3), keepdim=True)
    expected = oracle(students[0], teachers[0]) + oracle(students[1], pooled)
    assert float(value) == pytest.approx(expected, rel=1e-9)


def test_gradient_pulls_the_student_and_spares_the_teacher():
    student = torch.ones(1, 2, 8, 8, requires_grad=True)
    pooled = torch.ones(1, 2, 1, 1, requires_grad=True)
    teacher = torch.zeros(1, 2, 8, 8, requires_grad=True)
    ReviewKDLoss()([student, pooled], [teacher]).backward()
    # The teacher lies below, so descent must lower all of the student.
    assert (student.grad > 0).all() and (pooled.grad > 0).all()
    assert teacher.grad is None


def test_half_precision_is_computed_in_float32():
    student = (300 * draw((2, 3, 8, 8), 0)).half()
    teacher = (300 * draw((2, 3, 8, 8), 1)).half()
    pooled = student.float().mean((2, 3), keepdim=True)
    loss = ReviewKDLoss()
    value = loss([student, pooled], [teacher])
    assert value.dtype == torch.float32
    expected = loss([student.float(), pooled], [teacher.float()])
    torch.testing.assert_close(value, expected)


def test_what_cannot_be_paired_is_refused():
    maps = [draw((2, 3, 4, 4))]
    with pytest.raises(ValueError, match='1 levels, the teacher 2'):
        ReviewKDLoss()(maps, maps)
    with pytest.raises(ValueError, match='level 0'):
        ReviewKDLoss(pooled=False)(maps, [maps[0][:, :, :2, :2]])
    with pytest.raises(ConfigError, match='num_levels'):
        ReviewKDLoss(num_levels=0)
    with pytest.raises(ConfigError, match='pooled'):
        ReviewKDLoss(pooled=1)
