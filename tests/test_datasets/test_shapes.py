"""Test the scenes: their ground truth must fit what is painted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path

from mmtst.datasets.shapes import (
    DISTRACTORS,
    SHAPE_CLASSES,
    SHAPE_PALETTE,
    coverage,
    draw_scene,
    outline,
)


def scenes(count, size=96):
    return [draw_scene(np.random.default_rng(i), size) for i in range(count)]


@settings(max_examples=40, deadline=None)
@given(
    x=st.floats(-5, 30),
    y=st.floats(-5, 20),
    width=st.floats(1.5, 20),
    height=st.floats(1.5, 20),
)
def test_coverage_of_a_rectangle(x, y, width, height):
    corners = [
        (x, y),
        (x + width, y),
        (x + width, y + height),
        (x, y + height),
    ]
    got = coverage(np.array(corners, np.float32), 24, 32)
    columns = np.clip(
        np.minimum(np.arange(32) + 1, x + width)
        - np.maximum(np.arange(32), x),
        0,
        1,
    )
    rows = np.clip(
        np.minimum(np.arange(24) + 1, y + height)
        - np.maximum(np.arange(24), y),
        0,
        1,
    )
    want = rows[:, None] * columns
    # Each edge is right to half a cell of a quarter of a pixel.
    assert np.abs(got - want).max() <= 0.25 + 1e-6
    assert abs(got.sum() - want.sum()) <= (width + height) * 0.25


@pytest.mark.parametrize('kind', SHAPE_CLASSES + DISTRACTORS)
def test_coverage_agrees_with_points_inside(kind):
    rng = np.random.default_rng(3)
    # Turned, for straight edges along the cells err all to one side.
    turn = np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    polygon = outline(rng, kind) @ turn.T * 14.3 + [20.2, 17.7]
    got = coverage(polygon, 36, 40)
    cells = (np.arange(40 * 8) + 0.5) / 8
    x, y = np.meshgrid(cells, cells[: 36 * 8])
    inside = Path(polygon).contains_points(np.stack([x, y], -1).reshape(-1, 2))
    want = inside.reshape(36, 8, 40, 8).mean((1, 3))
    edges = np.roll(polygon, -1, 0) - polygon
    perimeter = np.linalg.norm(edges, axis=1).sum()
    # The outline lies within 1/20 of a pixel of where it should.
    assert abs(got.sum() - want.sum()) < 0.05 * perimeter
    centroid = [(a * np.arange(40)).sum() / a.sum() for a in (got, want)]
    assert abs(centroid[0] - centroid[1]) < 0.1
    assert ((got >= 0.5) != (want >= 0.5)).mean() < 0.01


def test_coverage_outside_of_the_image_is_empty():
    polygon = outline(np.random.default_rng(0), 'star') * 5 - 20
    assert coverage(polygon, 16, 16).sum() == 0


def test_outlines_lie_in_the_unit_circle():
    for kind in SHAPE_CLASSES:
        points = outline(np.random.default_rng(1), kind)
        radius = np.linalg.norm(points, axis=1)
        assert radius.max() == pytest.approx(1, abs=1e-5)


def test_unknown_shape_names_the_known_ones():
    with pytest.raises(ValueError, match='circle, square, triangle'):
        outline(np.random.default_rng(0), 'hexagon')


def test_size_too_small():
    with pytest.raises(ValueError, match='at least 32'):
        draw_scene(np.random.default_rng(0), 16)


def test_ground_truth_fits_together():
    whole = crowds = covered = 0
    for scene in scenes(60):
        labels = np.zeros((96, 96), np.uint8)
        total = np.zeros((96, 96), int)
        for item in scene.objects:
            assert not (item.visible & ~item.full).any()
            assert item.visible.sum() >= 0.4 * item.full.sum()
            total += item.visible
            labels[item.visible] = 255 if item.is_crowd else 1 + item.label
            x1, y1, x2, y2 = item.box
            inner = item.visible[y1:y2, x1:x2]
            assert inner.sum() == item.visible.sum()
            assert inner[0].any()
            assert inner[-1].any()
            assert inner[:, 0].any()
            assert inner[:, -1].any()
            whole += item.is_whole
            crowds += item.is_crowd
            covered += bool((item.full & ~item.visible).any())
        assert total.max() <= 1
        assert np.array_equal(labels, scene.label_map())
        assert any(not item.is_crowd for item in scene.objects)
    assert whole > 20
    assert crowds > 0
    assert covered > 20


def test_same_seed_same_scene_and_no_global_state():
    np.random.seed(5)
    state = np.random.get_state()[1].copy()
    first, second = scenes(1)[0], scenes(1)[0]
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.label_map(), second.label_map())
    assert np.array_equal(np.random.get_state()[1], state)
    other = draw_scene(np.random.default_rng(99), 96)
    assert not np.array_equal(first.image, other.image)


def test_color_tells_much_of_the_class_but_not_all():
    colors, labels = [], []
    for scene in scenes(250):
        for item in scene.objects:
            if not item.is_crowd:
                colors.append(scene.image[item.visible].mean(0))
                labels.append(item.label)
    colors, labels = np.array(colors), np.array(labels)
    half = len(colors) // 2
    centers = np.stack(
        [colors[:half][labels[:half] == k].mean(0) for k in range(5)]
    )
    distance = np.linalg.norm(colors[half:, None] - centers, axis=-1)
    right = (distance.argmin(1) == labels[half:]).mean()
    # Chance is 0.2; three in four have their class's color.
    assert 0.4 < right < 0.85


def test_every_class_has_a_color_and_is_drawn():
    assert len(SHAPE_PALETTE) == len(SHAPE_CLASSES)
    drawn = {item.label for scene in scenes(30) for item in scene.objects}
    assert set(range(5)) <= drawn
