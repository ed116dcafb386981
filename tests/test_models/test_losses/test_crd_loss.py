"""Check CRDLoss against loops written from the paper's equations."""

import copy
import math

import mmtst  # noqa: F401  isort: skip
import pytest
import torch
import torch.nn.functional as F
from mmpretrain.structures import DataSample
from torch import distributed, multiprocessing

from mmtst.models.losses import CRDLoss
from mmtst.utils.errors import ConfigError

LABELS = [0, 1, 2, 0, 1, 2, 2, 1, 0, 0, 1, 2]


def build(seed=0, **options):
    torch.manual_seed(seed)
    given = dict(num_samples=12, channels=4, num_negatives=5)
    return CRDLoss(**(given | options))


def embeddings(rows, seed=0, channels=4):
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(2, rows, channels, generator=generator)
    student, teacher = F.normalize(drawn, dim=2)
    return student.requires_grad_(), teacher.requires_grad_()


def samples(indices, labels=LABELS):
    return [
        DataSample(sample_idx=torch.tensor(i)).set_gt_label(labels[i])
        for i in indices
    ]


def taught(loss, labels=LABELS):
    """Let a loss know all labels, as after an epoch."""
    loss.labels.copy_(torch.tensor(labels))
    return loss


def draws_of(loss, indices, labels=LABELS, seed=7):
    """Return what a step at this seed draws, with the positives first."""
    torch.manual_seed(seed)
    rows = torch.tensor(indices)
    return loss._draw(rows, torch.tensor([labels[i] for i in indices]))


def one_side(rows, memory, drawn, tau):
    """Compute Z and the loss of one side, from Eq. 18 and 19."""
    count, number = len(memory), drawn.shape[1] - 1
    likeness = [
        [
            math.exp(float(rows[i].double() @ memory[j].double()) / tau)
            for j in drawn[i].tolist()
        ]
        for i in range(len(rows))
    ]
    entries = [x for row in likeness for x in row]
    z = count * sum(entries) / len(entries)
    total = 0.0
    for row in likeness:
        h = [x / z / (x / z + number / count) for x in row]
        total -= math.log(h[0]) + sum(math.log(1 - x) for x in h[1:])
    return z, total / len(rows)


@pytest.mark.parametrize('tau', [0.07, 0.5])
@pytest.mark.parametrize('seed', [0, 1])
def test_a_first_step_agrees_with_loops(seed, tau):
    loss = taught(build(seed, temperature=tau, loss_weight=0.8))
    indices = [3, 5, 10]
    student, teacher = embeddings(3, seed)
    drawn = draws_of(loss, indices)
    z_s, of_student = one_side(student, loss.teacher_memory, drawn, tau)
    z_t, of_teacher = one_side(teacher, loss.student_memory, drawn, tau)
    torch.manual_seed(7)
    value = loss(student, teacher, samples(indices))
    expected = 0.8 * (of_student + of_teacher)
    assert float(value) == pytest.approx(expected, rel=1e-4)
    assert loss.log_normalizers.exp().tolist() == pytest.approx(
        [z_s, z_t], rel=1e-4
    )


def test_by_hand():
    # Two samples of two classes, one negative, tau 1. Both memories are the
    # unit vectors; both embeddings of sample 0 are the first. Likeness 1 and
    # 0, so Z = 2 (e + 1) / 2 = e + 1; N / M = 1/2.
    # h+ = e/Z / (e/Z + 1/2) = 2e / (3e + 1); 1 - h- = (e + 1) / (e + 3).
    loss = build(num_samples=2, channels=2, num_negatives=1, temperature=1.0)
    loss.student_memory.copy_(torch.eye(2))
    loss.teacher_memory.copy_(torch.eye(2))
    row = torch.tensor([[1.0, 0.0]])
    e = math.e
    side = math.log((3 * e + 1) / (2 * e)) + math.log((e + 3) / (e + 1))
    value = loss(row, row, samples([0]))
    assert float(value) == pytest.approx(0.8 * 2 * side, rel=1e-5)


def test_z_stays_that_of_the_first_batch():
    loss = taught(build())
    loss(*embeddings(3, 0), samples([3, 5, 10]))
    first = loss.log_normalizers.clone()
    drawn = draws_of(loss, [0, 1])
    student, teacher = embeddings(2, 1)
    total = 0.0
    for rows, memory, log_z in (
        (student, loss.teacher_memory, first[0]),
        (teacher, loss.student_memory, first[1]),
    ):
        for i, row in enumerate(drawn.tolist()):
            for k, j in enumerate(row):
                inner = float(rows[i] @ memory[j]) / 0.07
                p = math.exp(inner - float(log_z))
                h = p / (p + 5 / 12)
                total -= math.log(h if k == 0 else 1 - h) / 2
    torch.manual_seed(7)
    value = loss(student, teacher, samples([0, 1]))
    assert float(value) == pytest.approx(0.8 * total, rel=1e-4)
    assert torch.equal(loss.log_normalizers, first)


def test_negatives_are_uniform_over_the_other_classes():
    loss = taught(build(num_negatives=60000))
    drawn = draws_of(loss, [3, 5])
    assert drawn[:, 0].tolist() == [3, 5]
    for row, own in zip(drawn[:, 1:], (0, 2), strict=True):
        counts = row.bincount(minlength=12).tolist()
        for index, count in enumerate(counts):
            if LABELS[index] == own:
                assert count == 0
            else:  # 8 others; a count has a deviation of 81.
                assert abs(count - 60000 / 8) < 5 * 81


def test_negatives_are_drawn_with_replacement():
    """Even where as many are there: 8 of the other classes, drawn 8 times."""
    loss = taught(build(num_negatives=8))
    drawn = draws_of(loss, list(range(12)))[:, 1:]
    distinct = [len(row.unique()) for row in drawn]
    assert min(distinct) < 8
    # 8 (1 - (7/8)^8) = 5.25 of them are distinct in the mean.
    rows = draws_of(loss, [0] * 2000)[:, 1:]
    mean = sum(len(row.unique()) for row in rows) / len(rows)
    assert mean == pytest.approx(8 * (1 - (7 / 8) ** 8), abs=0.1)


def test_negatives_of_other_samples_leave_out_the_sample_alone():
    loss = build(num_negatives=60000, negatives='other_samples')
    drawn = draws_of(loss, [0, 5, 11])
    for row, own in zip(drawn[:, 1:], (0, 5, 11), strict=True):
        counts = row.bincount(minlength=12).tolist()
        assert counts[own] == 0
        others = counts[:own] + counts[own + 1 :]  # A deviation of 70.
        assert all(abs(count - 60000 / 11) < 5 * 70 for count in others)


def test_labels_are_learned_as_they_are_seen():
    loss = build(num_negatives=500)
    assert set(loss.labels.tolist()) == {-1}
    loss(*embeddings(2), samples([0, 3]))
    known = [i for i, label in enumerate(loss.labels.tolist()) if label >= 0]
    assert known == [0, 3] and loss.labels[3] == LABELS[3]
    # Both are of class 0; unseen samples of class 0 may still be drawn.
    drawn = set(draws_of(loss, [0])[0, 1:].tolist())
    assert drawn == set(range(12)) - {0, 3}
    for start in range(0, 12, 4):
        indices = list(range(start, start + 4))
        loss(*embeddings(4), samples(indices))
    assert loss.labels.tolist() == LABELS
    drawn = set(draws_of(loss, [0])[0, 1:].tolist())
    assert drawn == {i for i, label in enumerate(LABELS) if label != 0}


def test_the_memories_move_to_the_embeddings():
    loss = build(momentum=0.5)
    before = [loss.student_memory.clone(), loss.teacher_memory.clone()]
    rows = embeddings(2)
    loss(*rows, samples([9, 4]))
    after = [loss.student_memory, loss.teacher_memory]
    for old, new, side in zip(before, after, rows, strict=True):
        for index in range(12):
            expected = old[index]
            if index in (9, 4):
                row = side[[9, 4].index(index)].detach()
                expected = 0.5 * old[index] + 0.5 * row
                expected = expected / expected.norm()
            torch.testing.assert_close(new[index], expected)
        assert not new.requires_grad


def test_two_views_are_two_rows_and_move_their_memory_once():
    loss = taught(build())
    before = loss.student_memory.clone()
    student, teacher = embeddings(4)
    indices = [3, 5, 3, 5]
    drawn = draws_of(loss, indices)
    assert drawn[:, 0].tolist() == indices
    assert not torch.equal(drawn[0], drawn[2])  # Negatives of their own.
    expected = sum(
        one_side(rows, memory, drawn, 0.07)[1]
        for rows, memory in (
            (student, loss.teacher_memory),
            (teacher, loss.student_memory),
        )
    )
    torch.manual_seed(7)
    value = loss(student, teacher, samples(indices))
    assert float(value) == pytest.approx(0.8 * expected, rel=1e-4)
    for index, views in ((3, [0, 2]), (5, [1, 3])):
        mean = student.detach()[views].mean(0)
        moved = F.normalize(0.5 * before[index] + 0.5 * mean, dim=0)
        torch.testing.assert_close(loss.student_memory[index], moved)
    # In which order the views come makes no difference to it.
    other = taught(build())
    order = [2, 1, 0, 3]
    swapped = student.detach()[order], teacher.detach()[order]
    other(*swapped, samples(indices))
    torch.testing.assert_close(other.student_memory, loss.student_memory)


def test_a_step_down_the_gradient_helps_on_both_sides():
    loss = taught(build())
    student, teacher = embeddings(3)
    fresh = copy.deepcopy(loss)
    torch.manual_seed(7)
    before = loss(student, teacher, samples([0, 1, 2]))
    before.backward()
    assert not loss.student_memory.requires_grad
    rows = []
    for side in (student, teacher):
        step = 1e-3 / float(side.grad.norm())
        rows.append(side.detach() - step * side.grad)
    fresh.log_normalizers.copy_(loss.log_normalizers)
    torch.manual_seed(7)
    after = fresh(*rows, samples([0, 1, 2]))
    assert float(after) < float(before)


def test_gradient_pulls_to_the_teachers_memory_of_the_sample():
    loss = build(num_samples=2, channels=2, num_negatives=1, temperature=1.0)
    loss.teacher_memory.copy_(torch.eye(2))
    student = F.normalize(torch.ones(1, 2), dim=1).requires_grad_()
    teacher = torch.tensor([[1.0, 0.0]])
    loss(student, teacher, samples([0])).backward()
    # The positive lies along the first axis, the negative along the second.
    assert student.grad[0, 0] < 0 < student.grad[0, 1]


def test_steps_are_a_function_of_the_seed():
    def steps(seed):
        loss, values = build(), []
        for step in range(3):
            torch.manual_seed(seed + step)
            rows = embeddings(4, step)
            values.append(float(loss(*rows, samples([0, 1, 2, 3]))))
        return values

    assert steps(0) == steps(0) != steps(50)


def test_a_checkpoint_holds_all_that_a_next_step_needs():
    first, second = build(0), build(1)
    for step in range(2):
        first(*embeddings(4, step), samples([0, 1, 2, 3]))
    second.load_state_dict(first.state_dict())
    values = []
    for loss in (first, second):
        torch.manual_seed(3)
        values.append(float(loss(*embeddings(4, 5), samples([2, 3, 4, 5]))))
    assert values[0] == values[1]
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_batched_samples_give_the_same():
    one, two = build(), build()
    rows = embeddings(3)
    batched = DataSample(sample_idx=torch.tensor([3, 5, 10]))
    batched.set_gt_label([LABELS[i] for i in (3, 5, 10)])
    values = []
    for loss, given in ((one, samples([3, 5, 10])), (two, [batched])):
        torch.manual_seed(3)
        values.append(float(loss(*rows, given)))
    assert values[0] == values[1]


def test_half_precision_is_computed_in_float32():
    one, two = build(), build()
    student, teacher = (x.detach().half() for x in embeddings(3))
    torch.manual_seed(3)
    with torch.autocast('cpu', torch.bfloat16):
        value = one(student, teacher, samples([0, 1, 2]))
    torch.manual_seed(3)
    expected = two(student.float(), teacher.float(), samples([0, 1, 2]))
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, expected)
    assert one.student_memory.dtype == torch.float32


def test_small_temperatures_do_not_overflow():
    loss = build(temperature=0.005)  # exp(1 / 0.005) has 87 digits.
    value = loss(*embeddings(3), samples([0, 1, 2]))
    value.backward()
    assert bool(value.isfinite())


def test_memories_are_as_long_as_embeddings_from_the_start():
    loss = build(num_samples=2000, channels=128)
    length = float(loss.teacher_memory.norm(dim=1).mean())
    assert length == pytest.approx(1.0, abs=0.01)
    assert not torch.equal(loss.teacher_memory, loss.student_memory)


@pytest.mark.parametrize(
    'options',
    [
        dict(num_samples=1),
        dict(channels=0),
        dict(num_negatives=0),
        dict(temperature=0),
        dict(momentum=1.0),
        dict(negatives='all'),
    ],
    ids=str,
)
def test_bad_options_are_refused(options):
    with pytest.raises(ConfigError, match=r'distill_losses\.\*'):
        build(**options)


def test_what_does_not_fit_is_refused():
    loss = build()
    student, teacher = embeddings(2)
    with pytest.raises(ValueError, match='no sample_idx'):
        loss(student, teacher, [DataSample().set_gt_label(0)] * 2)
    unlabelled = [DataSample(sample_idx=torch.tensor(i)) for i in (0, 1)]
    with pytest.raises(ValueError, match="negatives='other_samples'"):
        loss(student, teacher, unlabelled)
    build(negatives='other_samples')(student, teacher, unlabelled)
    with pytest.raises(ValueError, match='3 sample_idx'):
        loss(student, teacher, samples([0, 1, 2]))
    with pytest.raises(ValueError, match='num_samples is 12'):
        loss(student, teacher, samples([0, 12], LABELS + [0]))
    with pytest.raises(ValueError, match='channels=4'):
        loss(student[:, :3], teacher[:, :3], samples([0, 1]))
    with pytest.raises(ValueError, match='all of the data set'):
        taught(build(), [0] * 12)(student, teacher, samples([0, 3]))


def run_rank(rank, folder):
    distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/sync', rank=rank, world_size=2
    )
    loss = build()
    for step in range(2):
        student, teacher = embeddings(4, step)
        mine = slice(2 * rank, 2 * rank + 2)
        indices = [3, 5, 10, 1][mine]
        loss(student[mine], teacher[mine], samples(indices))
    torch.save(loss.state_dict(), f'{folder}/{rank}.pth')
    distributed.destroy_process_group()


def test_processes_keep_the_same_memories(tmp_path):
    multiprocessing.start_processes(
        run_rank, (str(tmp_path),), nprocs=2, start_method='fork'
    )
    first, second = (torch.load(tmp_path / f'{r}.pth') for r in range(2))
    alone = build()
    for step in range(2):
        alone(*embeddings(4, step), samples([3, 5, 10, 1]))
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
        if name != 'log_normalizers':  # Of other negatives.
            torch.testing.assert_close(value, alone.state_dict()[name])
