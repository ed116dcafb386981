"""Check LevelwiseLoss with mmrazor's losses, against the papers' formulas."""

import math

import pytest
import torch

import mmtst  # noqa: F401  (mmrazor imports only after it)
from mmtst.models.connectors import LevelwiseConnector
from mmtst.models.losses import DenseKLLoss, LevelwiseLoss
from mmtst.utils.errors import ConfigError

CWD = dict(type='mmrazor.ChannelWiseDivergence', tau=1.0, loss_weight=1.0)
PKD = dict(type='mmrazor.PKDLoss', loss_weight=1.0)
MGD = dict(type='mmrazor.MGDLoss', alpha_mgd=0.5)
DIST = dict(type='mmrazor.DISTLoss', tau=1.0, loss_weight=1.0)
KL = dict(type='mmrazor.KLDivergence', tau=1.0, loss_weight=1.0)
SHAPES = [(2, 3, 4, 5), (1, 4, 3, 3), (3, 2, 2, 6)]


def pair(shape, seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(shape, generator=generator, dtype=dtype) for _ in range(2)
    ]


def mean(values):
    return sum(values) / len(values)


def correlation(a, b):
    """Compute Pearson's r of two lists, as schools teach it."""
    a, b = [float(x) for x in a], [float(x) for x in b]
    da, db = [x - mean(a) for x in a], [x - mean(b) for x in b]
    shared = sum(x * y for x, y in zip(da, db, strict=True))
    return shared / math.sqrt(sum(x * x for x in da) * sum(y * y for y in db))


def softmax(values, tau=1.0):
    powers = [math.exp(float(v) / tau) for v in values]
    return [p / sum(powers) for p in powers]


def cwd_oracle(student, teacher, tau):
    """Average tau^2 KL over channels; one distribution over positions each."""
    terms = []
    for s_image, t_image in zip(student, teacher, strict=True):
        for s, t in zip(s_image, t_image, strict=True):
            s, t = softmax(s.flatten(), tau), softmax(t.flatten(), tau)
            parts = zip(s, t, strict=True)
            terms.append(sum(q * math.log(q / p) for p, q in parts))
    return tau**2 * mean(terms)


def pkd_oracle(student, teacher):
    """Average 1 - r over channels; a channel has all images' positions."""
    channels = range(student.shape[1])
    return mean(
        [
            1 - correlation(student[:, c].flatten(), teacher[:, c].flatten())
            for c in channels
        ]
    )


def rows(logits):
    """List the distributions of all positions of a map."""
    return [
        [float(v) for v in logits[b, :, y, x]]
        for b in range(logits.shape[0])
        for y in range(logits.shape[2])
        for x in range(logits.shape[3])
    ]


def dist_oracle(student, teacher, tau):
    """Sum 1 - mean r over positions (inter) and over classes (intra)."""
    student = [softmax(row, tau) for row in rows(student)]
    teacher = [softmax(row, tau) for row in rows(teacher)]

    def relation(first, second):
        pairs = zip(first, second, strict=True)
        return 1 - mean([correlation(s, t) for s, t in pairs])

    inter = relation(student, teacher)
    intra = relation(
        list(zip(*student, strict=True)), list(zip(*teacher, strict=True))
    )
    return tau**2 * (inter + intra)


def kl_oracle(student, teacher, tau):
    """Average tau^2 KL over positions; a distribution over channels each."""
    terms = []
    for s, t in zip(rows(student), rows(teacher), strict=True):
        parts = zip(softmax(s, tau), softmax(t, tau), strict=True)
        terms.append(sum(q * math.log(q / p) for p, q in parts))
    return tau**2 * mean(terms)


@pytest.mark.parametrize('seed', [0, 1])
@pytest.mark.parametrize('shape', SHAPES, ids=str)
@pytest.mark.parametrize('tau', [1.0, 4.0])
def test_cwd_agrees_with_loops(shape, seed, tau):
    student, teacher = pair(shape, seed)
    value = LevelwiseLoss(dict(CWD, tau=tau, loss_weight=3.0))
    expected = 3 * cwd_oracle(student, teacher, tau)
    assert float(value(student, teacher)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize('seed', [0, 1])
@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_pkd_is_one_minus_the_correlation(shape, seed):
    student, teacher = pair(shape, seed)
    value = float(LevelwiseLoss(PKD)(student, teacher))
    # mmrazor divides by the unbiased deviation, but averages over n.
    n = student[:, 0].numel()
    expected = pkd_oracle(student, teacher) * (n - 1) / n
    assert value == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize('seed', [0, 1])
@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_mgd_is_the_squared_error_of_an_image(shape, seed):
    student, teacher = pair(shape, seed)
    errors = [
        (float(s) - float(t)) ** 2
        for s, t in zip(student.flatten(), teacher.flatten(), strict=True)
    ]
    expected = 0.5 * sum(errors) / shape[0]
    value = float(LevelwiseLoss(MGD)(student, teacher))
    assert value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize('seed', [0, 1])
@pytest.mark.parametrize('shape', SHAPES[:2], ids=str)
@pytest.mark.parametrize('tau', [1.0, 2.0])
def test_dist_correlates_positions_and_classes(shape, seed, tau):
    student, teacher = pair(shape, seed)
    loss = LevelwiseLoss(dict(DIST, tau=tau), form='rows')
    expected = dist_oracle(student, teacher, tau)
    assert float(loss(student, teacher)) == pytest.approx(expected, rel=1e-5)
    # On the map itself mmrazor relates the images of the batch alone.
    plain = loss.loss(student, teacher)
    assert float(plain) != pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize('tau', [1.0, 4.0])
def test_kl_of_rows_is_the_mean_over_positions(tau):
    student, teacher = pair((2, 3, 4, 5), 0)
    loss = LevelwiseLoss(dict(KL, tau=tau), form='rows')
    value = float(loss(student, teacher))
    expected = kl_oracle(student, teacher, tau)
    assert value == pytest.approx(expected, rel=1e-9)
    ours = DenseKLLoss(tau=tau)(student, teacher)
    assert value == pytest.approx(float(ours), rel=1e-9)
    # Without, it is H * W = 20 times as much.
    plain = float(loss.loss(student, teacher))
    assert plain == pytest.approx(20 * value, rel=1e-9)


def test_logits_without_positions_are_rows_already():
    student, teacher = pair((6, 4), 0)
    loss = LevelwiseLoss(DIST, form='rows')
    expected = dist_oracle(
        student[:, :, None, None], teacher[:, :, None, None], 1.0
    )
    assert float(loss(student, teacher)) == pytest.approx(expected, rel=1e-6)


def test_levels_are_summed_the_finest_first():
    first, second, third = (
        pair((1, 2, size, size), size) for size in (4, 3, 2)
    )
    students, teachers = zip(first, second, third, strict=True)
    one = LevelwiseLoss(CWD)
    parts = [one(s, t) for s, t in (first, second, third)]
    torch.testing.assert_close(one(students, teachers), sum(parts))
    two = LevelwiseLoss(CWD, num_levels=2)
    expected = parts[0] + parts[1]
    torch.testing.assert_close(two(students, teachers), expected)
    # A connector may have left out the coarsest.
    torch.testing.assert_close(two(students[:2], teachers), expected)


def test_pkd_takes_tuples_itself_and_agrees():
    first, second = pair((2, 3, 4, 4), 0), pair((2, 3, 2, 2), 1)
    students, teachers = zip(first, second, strict=True)
    loss = LevelwiseLoss(PKD)
    torch.testing.assert_close(
        loss(students, teachers), loss.loss(students, teachers)
    )


CASES = [(CWD, 'map'), (PKD, 'map'), (MGD, 'map'), (DIST, 'rows')]
NAMES = [case[0]['type'].rpartition('.')[2] for case in CASES]


@pytest.mark.parametrize(('cfg', 'form'), CASES, ids=NAMES)
def test_equal_inputs_give_zero(cfg, form):
    features, _ = pair((2, 3, 4, 5), 0)
    value = float(LevelwiseLoss(cfg, form)([features], [features]))
    assert value == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize('seed', [0, 1, 2])
@pytest.mark.parametrize(('cfg', 'form'), CASES, ids=NAMES)
def test_a_step_down_the_gradient_helps_and_the_teacher_is_spared(
    cfg, form, seed
):
    student, teacher = pair((2, 3, 4, 5), seed)
    student.requires_grad_(), teacher.requires_grad_()
    loss = LevelwiseLoss(cfg, form)
    before = loss([student], [teacher])
    before.backward()
    assert teacher.grad is None
    step = 1e-3 / float(student.grad.norm())
    after = loss([student.detach() - step * student.grad], [teacher.detach()])
    assert float(after) < float(before)


@pytest.mark.parametrize(('cfg', 'form'), CASES, ids=NAMES)
def test_channels_last_features_give_the_same(cfg, form):
    student, teacher = pair((2, 3, 4, 5), 0)
    loss = LevelwiseLoss(cfg, form)
    expected = loss(student, teacher)
    last = dict(memory_format=torch.channels_last)
    value = loss(student.contiguous(**last), teacher.contiguous(**last))
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(('cfg', 'form'), CASES, ids=NAMES)
def test_half_precision_is_computed_in_float32(cfg, form, dtype):
    # Squares of 300 do not fit float16.
    student, teacher = (
        (300 * x).to(dtype) for x in pair((2, 3, 4, 5), 0, torch.float32)
    )
    loss = LevelwiseLoss(cfg, form)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = loss([student], [teacher])
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(student.float(), teacher.float()))


@pytest.mark.parametrize('cfg', [DIST, KL])
def test_no_rows_give_zero_with_a_gradient(cfg):
    student = torch.zeros(0, 4, requires_grad=True)
    value = LevelwiseLoss(cfg, form='rows')(student, torch.zeros(0, 4))
    assert float(value) == 0.0
    value.backward()
    assert student.grad.shape == (0, 4)


def test_mgd_with_its_generation_learns_and_spares_the_records():
    torch.manual_seed(0)
    connector = LevelwiseConnector(
        dict(
            type='mmrazor.MGDConnector',
            student_channels=2,
            teacher_channels=3,
            lambda_mgd=0.5,
        ),
        num_levels=2,
    )
    students = [torch.randn(2, 2, 8 // n, 8 // n) for n in (1, 2)]
    students = [s.requires_grad_() for s in students]
    teachers = [torch.randn(2, 3, 8 // n, 8 // n) for n in (1, 2)]
    kept = [x.detach().clone() for x in students + teachers]
    loss = LevelwiseLoss(MGD, num_levels=2)
    optimizer = torch.optim.SGD(connector.parameters(), lr=1e-3)

    def value():
        torch.manual_seed(1)  # The same masks each time.
        return loss(connector(students), teachers)

    first = value()
    first.backward()
    assert all(float(s.grad.abs().sum()) > 0 for s in students)
    assert all(p.grad is not None for p in connector.parameters())
    optimizer.step()
    assert float(value()) < float(first)
    for was, now in zip(kept, students + teachers, strict=True):
        assert torch.equal(was, now)


@pytest.mark.parametrize(
    'options',
    [dict(form='points'), dict(num_levels=0), dict(num_levels=1.5)],
    ids=str,
)
def test_bad_options_are_refused(options):
    with pytest.raises(ConfigError, match='where'):
        LevelwiseLoss(PKD, **options)


def test_unknown_losses_are_named():
    with pytest.raises(ConfigError, match='did you mean PKDLoss'):
        LevelwiseLoss(dict(type='mmrazor.PKDLos'))


def test_levels_must_agree():
    loss = LevelwiseLoss(PKD, num_levels=3)
    level = torch.zeros(1, 2, 2, 2)
    with pytest.raises(ValueError, match='PKDLoss: num_levels is 3'):
        loss([level] * 2, [level] * 3)
    with pytest.raises(ValueError, match='strides must agree'):
        LevelwiseLoss(PKD)(level, torch.zeros(1, 2, 4, 4))
