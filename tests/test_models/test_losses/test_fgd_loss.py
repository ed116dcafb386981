"""Check FGDLoss against loops over pixels, written from the paper."""

import math

import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.structures import InstanceData

from mmtst.models.losses import FGDLoss
from mmtst.models.losses.fgd_loss import (
    attention,
    background_weights,
    object_weights,
)
from mmtst.utils.errors import ConfigError

SIZE = (64, 96)  # Of the network's input: height, width.


def sample_of(boxes, size=SIZE, key='batch_input_shape', wrap=False):
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    sample = DetDataSample(metainfo={key: size})
    sample.gt_instances = InstanceData(
        bboxes=HorizontalBoxes(boxes) if wrap else boxes
    )
    return sample


BOXES = [
    [[8, 8, 40, 24], [30, 10, 50, 60], [33, 17, 35, 19]],
    [[-10, -10, 20, 20], [90, 60, 200, 100], [70.5, 3.25, 71, 9]],
    [],
]


def pair(channels, seed, stride, batch=3):
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, channels, SIZE[0] // stride, SIZE[1] // stride)
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64)
        for _ in range(2)
    ]


def samples():
    return [sample_of(boxes) for boxes in BOXES]


def oracle_attention(features, tau):
    """Return lists [y][x] and [k] for one image, (C, H, W)."""
    channels, height, width = features.shape
    strength = features.abs().tolist()
    cells = [
        [
            math.exp(
                sum(strength[k][y][x] for k in range(channels))
                / channels
                / tau
            )
            for x in range(width)
        ]
        for y in range(height)
    ]
    parts = [
        math.exp(sum(map(sum, strength[k])) / (height * width) / tau)
        for k in range(channels)
    ]
    every = sum(map(sum, cells))
    spatial = [[height * width * v / every for v in row] for row in cells]
    return spatial, [channels * v / sum(parts) for v in parts]


def oracle_scale(boxes, height, width):
    """Return S [y][x] and the mask of objects M [y][x]."""
    covered = []
    for x1, y1, x2, y2 in boxes:
        left, right = x1 * width / SIZE[1], x2 * width / SIZE[1]
        top, bottom = y1 * height / SIZE[0], y2 * height / SIZE[0]
        covered.append(
            {
                (y, x)
                for y in range(height)
                for x in range(width)
                if x + 1 > left and x < right and y + 1 > top and y < bottom
            }
        )
    scale = [[0.0] * width for _ in range(height)]
    mask = [[False] * width for _ in range(height)]
    for y in range(height):
        for x in range(width):
            mine = [cells for cells in covered if (y, x) in cells]
            if mine:
                mask[y][x] = True
                scale[y][x] = 1 / min(len(cells) for cells in mine)
    outside = sum(not inside for row in mask for inside in row)
    for y in range(height):
        for x in range(width):
            if not mask[y][x]:
                scale[y][x] = 1 / outside
    return scale, mask


def oracle_relation(block, features):
    """Compute F + W2 relu(LN(W1 sum_j softmax_j(w F_j) F_j)), (C, H, W)."""
    channels = features.shape[0]
    cells = features.reshape(channels, -1).T  # (H W, C)
    key = block.conv_mask
    scores = [
        math.exp(float(cell @ key.weight.flatten() + key.bias))
        for cell in cells
    ]
    context = sum(
        score / sum(scores) * cell
        for score, cell in zip(scores, cells, strict=True)
    )
    first, norm, _, last = block.channel_add_conv
    hidden = first.weight[:, :, 0, 0] @ context + first.bias
    spread = ((hidden - hidden.mean()) ** 2).mean()
    hidden = (hidden - hidden.mean()) / (spread + norm.eps).sqrt()
    hidden = hidden * norm.weight.flatten() + norm.bias.flatten()
    added = last.weight[:, :, 0, 0] @ hidden.clamp(min=0) + last.bias
    return features + added[:, None, None]


def oracle_image(loss, level, student, teacher, boxes):
    """Compute the four terms of one image at one level, in loops."""
    channels, height, width = student.shape
    spatial_s, channel_s = oracle_attention(student, loss.tau)
    spatial_t, channel_t = oracle_attention(teacher, loss.tau)
    scale, mask = oracle_scale(boxes, height, width)
    error = (teacher - student).square().tolist()
    total = 0.0
    for y in range(height):
        for x in range(width):
            weight = loss.alpha if mask[y][x] else loss.beta
            for k in range(channels):
                total += (
                    weight
                    * scale[y][x]
                    * spatial_t[y][x]
                    * channel_t[k]
                    * error[k][y][x]
                )
            total += loss.gamma * abs(spatial_t[y][x] - spatial_s[y][x])
    for k in range(channels):
        total += loss.gamma * abs(channel_t[k] - channel_s[k])
    relation_s = oracle_relation(loss.student_relations[level], student)
    relation_t = oracle_relation(loss.teacher_relations[level], teacher)
    squares = (relation_t - relation_s).square().flatten().tolist()
    return total + loss.lambda_ * sum(squares)


def build(seed=0, **options):
    """Build the loss with relations that have been trained a while."""
    torch.manual_seed(seed)
    settings = dict(channels=4, num_levels=2, alpha=0.7, beta=0.3, gamma=0.2)
    loss = FGDLoss(**{**settings, 'lambda_': 0.1, **options}).double()
    for parameter in loss.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return loss


@pytest.mark.parametrize('seed', [0, 1, 2])
@pytest.mark.parametrize('tau', [0.5, 0.8])
@torch.no_grad()
def test_agrees_with_loops_over_pixels(seed, tau):
    loss = build(seed, tau=tau)
    levels = [pair(4, seed, stride) for stride in (8, 16)]
    expected = 0.0
    for level, (student, teacher) in enumerate(levels):
        for s, t, boxes in zip(student, teacher, BOXES, strict=True):
            expected += oracle_image(loss, level, s, t, boxes) / len(student)
    students, teachers = zip(*levels, strict=True)
    value = float(loss(students, teachers, samples()))
    assert value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize('term', ['alpha', 'beta', 'gamma', 'lambda_'])
@torch.no_grad()
def test_each_term_agrees_alone(term):
    weights = dict.fromkeys(('alpha', 'beta', 'gamma', 'lambda_'), 0.0)
    loss = build(num_levels=1, **{**weights, term: 1.0})
    student, teacher = pair(4, 3, 8)
    expected = sum(
        oracle_image(loss, 0, s, t, boxes) / 3
        for s, t, boxes in zip(student, teacher, BOXES, strict=True)
    )
    value = float(loss([student], [teacher], samples()))
    assert expected > 0
    assert value == pytest.approx(expected, rel=1e-9)


def test_focal_by_hand():
    # Two cells, one channel: attention 1 where the strengths agree, so an
    # object in the first cell weighs alpha, the background beta.
    loss = FGDLoss(2, 1, alpha=2.0, beta=3.0, gamma=0.0, lambda_=0.0)
    teacher = torch.ones(1, 2, 1, 2)
    student = teacher.clone()
    student[0, :, 0, 0] += 2.0  # Squared: 4 in each of two channels.
    student[0, :, 0, 1] += 1.0  # Squared: 1.
    sample = sample_of([[0, 0, 8, 8]], size=(8, 16))
    value = float(loss([student], [teacher], [sample]).detach())
    assert value == pytest.approx(2.0 * 8 + 3.0 * 2)


def test_attention_by_hand():
    # Strengths tau log 3 and 0: shares 3/4 and 1/4, times two cells.
    features = torch.zeros(1, 1, 1, 2)
    features[..., 0] = -0.5 * math.log(3)
    spatial, channel = attention(features, 0.5)
    torch.testing.assert_close(spatial, torch.tensor([[[1.5, 0.5]]]))
    torch.testing.assert_close(channel, torch.ones(1, 1))


def test_objects_land_on_the_cells_that_they_cover():
    level = torch.zeros(4, 6)  # Stride 16 of 64 x 96.
    # x from 17 to 33 touches columns 1 and 2, y from 0 to 16 row 0 alone.
    weights = object_weights(
        torch.tensor([[17.0, 0.0, 33.0, 16.0]]), SIZE, level
    )
    expected = torch.zeros(4, 6)
    expected[0, 1:3] = 0.5
    torch.testing.assert_close(weights, expected)
    background = background_weights(weights[None])[0]
    torch.testing.assert_close(background, (expected == 0) / 22)


def test_a_box_ends_before_the_cell_that_it_only_touches():
    """Unlike the authors' slices, which include that row and column."""
    x1, y1, x2, y2, stride = 16, 16, 32, 32, 8
    weights = object_weights(
        torch.tensor([[16.0, 16.0, 32.0, 32.0]]), (64, 96), torch.zeros(8, 12)
    )
    paper, authors = torch.zeros(8, 12), torch.zeros(8, 12)
    for i in range(8):
        for j in range(12):
            row, column = i * stride, j * stride  # of the cell's corner
            if y1 <= row < y2 and x1 <= column < x2:
                paper[i, j] = 1 / 4
            if y1 <= row <= y2 and x1 <= column <= x2:
                authors[i, j] = 1 / 9
    assert weights.equal(paper)
    # Both weigh an object by 1.
    assert float(authors.sum()) == pytest.approx(float(weights.sum()))


def test_the_smaller_object_wins():
    level = torch.zeros(4, 6)
    boxes = torch.tensor([[0.0, 0.0, 96.0, 64.0], [16.0, 16.0, 32.0, 32.0]])
    weights = object_weights(boxes, SIZE, level)
    expected = torch.full((4, 6), 1 / 24)
    expected[1, 1] = 1.0
    torch.testing.assert_close(weights, expected)
    torch.testing.assert_close(
        object_weights(boxes.flip(0), SIZE, level), expected
    )
    # Without background there is nothing to weigh, and nothing divides by 0.
    assert float(background_weights(weights[None]).sum()) == 0.0


def test_what_has_no_area_still_has_a_cell_and_what_is_outside_none():
    level = torch.zeros(4, 6)
    point = object_weights(torch.tensor([[16.0] * 4]), SIZE, level)
    assert float(point[1, 1]) == float(point.sum()) == 1.0
    outside = torch.tensor([[200.0, 10.0, 220.0, 20.0], [-9, -9, -1, -1]])
    assert float(object_weights(outside, SIZE, level).sum()) == 0.0


def test_the_size_is_that_of_the_batch():
    student, teacher = pair(4, 0, 8, batch=1)
    loss = build(num_levels=1)
    expected = float(loss([student], [teacher], [sample_of(BOXES[0])]))
    both = sample_of(BOXES[0])
    both.set_metainfo(dict(img_shape=(50, 60), pad_shape=(60, 80, 3)))
    assert float(loss([student], [teacher], [both])) == expected
    for key in ('pad_shape', 'img_shape'):
        other = sample_of(BOXES[0], size=(*SIZE, 3), key=key)
        assert float(loss([student], [teacher], [other])) == expected
    boxed = sample_of(BOXES[0], wrap=True)
    assert float(loss([student], [teacher], [boxed])) == expected


def test_equal_features_give_zero_at_the_start():
    torch.manual_seed(0)
    loss = FGDLoss(4, 1)
    features = [torch.randn(3, 4, 8, 12)]
    assert float(loss(features, features, samples())) == 0.0
    # Of the relations only the projection starts at zero.
    student, teacher = (x.float() for x in pair(4, 0, 8))
    relations = loss.student_relations[0]
    assert torch.equal(relations(student), student)
    assert float(relations.conv_mask.weight.abs().sum()) > 0
    loss([student], [teacher], samples()).backward()
    for side in (loss.student_relations, loss.teacher_relations):
        last = side[0].channel_add_conv[-1]
        assert float(last.weight.grad.abs().sum()) > 0


@pytest.mark.parametrize('seed', [0, 1, 2])
def test_a_step_down_the_gradient_helps_and_the_teacher_is_spared(seed):
    loss = build(seed, num_levels=1)
    student, teacher = (x.requires_grad_() for x in pair(4, seed, 8))
    before = loss([student], [teacher], samples())
    before.backward()
    assert teacher.grad is None
    step = 1e-3 / float(student.grad.norm())
    moved = student.detach() - step * student.grad
    after = loss([moved], [teacher.detach()], samples())
    assert float(after) < float(before)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    loss = build(num_levels=1).float()
    # Squares of 300 do not fit float16.
    last = dict(memory_format=torch.channels_last)
    student, teacher = (
        (300 * x).to(dtype).contiguous(**last) for x in pair(4, 0, 8)
    )
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = loss([student], [teacher], samples())
    assert value.dtype == torch.float32
    expected = loss([student.float()], [teacher.float()], samples())
    torch.testing.assert_close(value, expected)


def test_the_relations_too_are_computed_in_float32():
    loss = build(num_levels=1, alpha=0, beta=0, gamma=0).float()
    student, teacher = (x.float() for x in pair(4, 0, 8))
    expected = loss([student], [teacher], samples())
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = loss([student], [teacher], samples())
    assert float(value.detach()) == float(expected.detach())


def test_coarser_levels_are_left_out():
    loss = build(num_levels=1)
    (s0, t0), (s1, t1) = pair(4, 0, 8), pair(4, 0, 16)
    torch.testing.assert_close(
        loss([s0, s1], [t0, t1], samples()), loss([s0], [t0], samples())
    )


def test_inputs_are_not_edited():
    loss = build(num_levels=1)
    student, teacher = pair(4, 0, 8)
    kept, given = (student.clone(), teacher.clone()), samples()
    loss([student], [teacher], given)
    assert torch.equal(student, kept[0])
    assert torch.equal(teacher, kept[1])
    for sample, boxes in zip(given, samples(), strict=True):
        assert torch.equal(
            sample.gt_instances.bboxes, boxes.gt_instances.bboxes
        )


@pytest.mark.parametrize(
    'options',
    [
        dict(channels=1),
        dict(num_levels=0),
        dict(tau=0.0),
        dict(alpha=-1.0),
        dict(lambda_=float('nan')),
    ],
    ids=str,
)
def test_bad_options_are_refused(options):
    with pytest.raises(ConfigError, match='where'):
        FGDLoss(**options)


def test_what_does_not_fit_is_said():
    loss = build(num_levels=1)
    student, teacher = pair(4, 0, 8)
    with pytest.raises(ValueError, match='2 samples for 3 images'):
        loss([student], [teacher], samples()[:2])
    with pytest.raises(ValueError, match=r'of \[3\] channels'):
        loss([student[:, :3]], [teacher[:, :3]], samples())
    with pytest.raises(ValueError, match='num_levels is 2'):
        build()([student], [teacher], samples())
    with pytest.raises(ValueError, match='no gt_instances'):
        loss([student], [teacher], [DetDataSample()] * 3)
    unsized = sample_of([], key='scale')
    with pytest.raises(ValueError, match='batch_input_shape, pad_shape'):
        loss([student], [teacher], [unsized] * 3)


@pytest.mark.parametrize('stride', [8, 32, 64, 128])
@pytest.mark.parametrize('size', [(800, 1344), (640, 1088), (64, 96)])
def test_cells_are_a_stride_wide_where_it_does_not_divide_the_input(
    size, stride
):
    """As detectors place them: 800 pixels are 7 cells of 128."""
    x1, x2 = (size[1] * share for share in (0.2, 0.55))
    y1, y2 = (size[0] * share for share in (0.3, 0.9))
    height, width = (math.ceil(side / stride) for side in size)
    covered = {
        (y, x)
        for y in range(height)
        for x in range(width)
        if x1 < (x + 1) * stride
        and x2 > x * stride
        and y1 < (y + 1) * stride
        and y2 > y * stride
    }
    weights = object_weights(
        torch.tensor([[x1, y1, x2, y2]]), size, torch.zeros(height, width)
    )
    expected = torch.zeros(height, width)
    for cell in covered:
        expected[cell] = 1 / len(covered)
    torch.testing.assert_close(weights, expected)
