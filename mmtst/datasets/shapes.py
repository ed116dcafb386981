"""Draw small synthetic scenes with boxes, instance masks and a label map.

A scene is a textured background with some shapes of five classes on it. Each
class has a color that most, but not all, of its objects come close to: a
minute's training finds that, while the rest wants the outline. Contrast,
texture, size, rotation and light are drawn independently of the class, and
shapes of no class (bars, half discs, L shapes) lie between the others.

Convention: coordinates are continuous and edge-based, pixel (i, j) covers
[j, j + 1] x [i, i + 1]; polygons are (K, 2) arrays of (x, y); images are RGB.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmtst.datasets.textures import light, texture
from mmtst.utils.errors import ConfigError

SHAPE_CLASSES = ('circle', 'square', 'triangle', 'star', 'cross')
SHAPE_PALETTE = (
    (220, 20, 60),
    (0, 120, 220),
    (250, 170, 30),
    (30, 160, 90),
    (150, 60, 200),
)
DISTRACTORS = ('bar', 'half', 'corner')
BACKGROUND = 0
IGNORE = 255
MIN_SIZE = 32

_CELLS = 4
_MIN_VISIBLE = 0.4
# Share of a class's objects that have its color.
_TYPICAL = 0.75
_PLACING_TRIES = 8

Mask = NDArray[np.bool_]
Array = NDArray[np.float32]


@dataclass
class SceneObject:
    """Hold one object of a scene.

    Attributes:
        label: Index in ``SHAPE_CLASSES``; -1 for an ignored crowd.
        polygon: (K, 2), the full outline in pixels, which may leave the
            image; ``None`` for a crowd.
        full: (H, W), every pixel of the object inside the image.
        visible: (H, W), its pixels that nothing covers.
    """

    label: int
    polygon: Array | None
    full: Mask
    visible: Mask

    @property
    def is_crowd(self) -> bool:
        """Say whether it is a crowd, neither to be found nor to be missed."""
        return self.label < 0

    @property
    def is_whole(self) -> bool:
        """Say whether nothing of it is covered or outside of the image."""
        if self.polygon is None or not np.array_equal(self.full, self.visible):
            return False
        height, width = self.full.shape
        low, high = self.polygon.min(0), self.polygon.max(0)
        return bool(
            (low >= 0).all() and high[0] <= width and high[1] <= height
        )

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Return the hull of the visible pixels, (x1, y1, x2, y2)."""
        columns = np.flatnonzero(self.visible.any(0))
        rows = np.flatnonzero(self.visible.any(1))
        return (
            int(columns[0]),
            int(rows[0]),
            int(columns[-1]) + 1,
            int(rows[-1]) + 1,
        )


@dataclass
class Scene:
    """Hold one image and its ground truth.

    Attributes:
        image: (H, W, 3), uint8, RGB.
        objects: The objects of a class and the ignored crowds.
    """

    image: NDArray[np.uint8]
    objects: list[SceneObject]

    def label_map(self) -> NDArray[np.uint8]:
        """Return (H, W): 0 background, 1 + class index, 255 crowds."""
        labels = np.full(self.image.shape[:2], BACKGROUND, np.uint8)
        for item in self.objects:
            labels[item.visible] = IGNORE if item.is_crowd else 1 + item.label
        return labels


def draw_scene(rng: np.random.Generator, size: int = 160) -> Scene:
    """Draw one scene.

    Args:
        rng: Where all randomness comes from.
        size: Side of the square image, in pixels.

    Returns:
        The scene; it holds at least one object of a class.

    Raises:
        ConfigError: ``size`` is under 32.
    """
    if size < MIN_SIZE:
        raise ConfigError(
            'the images would be too small to draw shapes on',
            where='size',
            got=size,
            allowed=f'at least {MIN_SIZE}',
        )
    canvas = texture(rng, size, size, contrast=0.35)
    objects: list[SceneObject] = []
    for _ in range(int(rng.integers(0, 3))):
        _add_distractor(rng, canvas, objects)
    wanted = int(rng.integers(2, 6))
    crowded = rng.random() < 0.1
    for index in range(wanted):
        if crowded and index == wanted // 2:
            _add_crowd(rng, canvas, objects)
        _add_shape(rng, canvas, objects)
        if rng.random() < 0.1:
            _add_distractor(rng, canvas, objects)
    while not any(not item.is_crowd for item in objects):
        _add_shape(rng, canvas, objects)
    return Scene(light(rng, canvas), objects)


def outline(rng: np.random.Generator, kind: str) -> Array:
    """Return the outline of a shape, (K, 2), within the unit circle.

    Args:
        rng: Draws the proportions (arm widths, inner radii, heights).
        kind: A name of ``SHAPE_CLASSES`` or ``DISTRACTORS``.

    Raises:
        ConfigError: There is no such shape.
    """
    if kind == 'circle':
        points = _on_circle(np.arange(40) / 40)
    elif kind == 'square':
        points = _on_circle((np.arange(4) + 0.5) / 4)
    elif kind == 'triangle':
        half = rng.uniform(0.28, 0.38)
        points = _on_circle(np.array([0.0, half, 1 - half]))
    elif kind == 'star':
        points = _on_circle(np.arange(10) / 10)
        points[1::2] *= rng.uniform(0.38, 0.5)
    elif kind == 'cross':
        arm = rng.uniform(0.25, 0.4)
        corner = [(arm, 1.0), (arm, arm), (1.0, arm)]
        quarter = np.array(corner) / np.hypot(1.0, arm)
        turns = [quarter @ _rotation(-np.pi / 2 * k).T for k in range(4)]
        points = np.concatenate(turns)
    elif kind == 'bar':
        thin = rng.uniform(0.15, 0.3)
        points = np.array([(-1, -thin), (1, -thin), (1, thin), (-1, thin)])
        points = points / np.hypot(1.0, thin)
    elif kind == 'half':
        points = _on_circle(np.linspace(0, 0.5, 20))
    elif kind == 'corner':
        arm = rng.uniform(0.3, 0.5)
        points = np.array(
            [(0, 0), (1, 0), (1, arm), (arm, arm), (arm, 1), (0, 1)]
        )
        points = points - 0.4
    else:
        raise ConfigError(
            'there is no such shape',
            where='kind',
            got=kind,
            allowed=', '.join(SHAPE_CLASSES + DISTRACTORS),
        )
    return points.astype(np.float32)


def coverage(polygon: Array, height: int, width: int) -> Array:
    """Return how much of each pixel a polygon covers.

    Counts the centers of 4 x 4 cells a pixel that lie inside (even-odd rule).
    cv2.fillPoly is of no use here: it paints every cell that the outline
    touches, which makes masks larger than their polygons.

    Args:
        polygon: (K, 2), (x, y) in pixels; may leave the image.
        height: Of the image, in pixels.
        width: Of the image, in pixels.

    Returns:
        (height, width), in [0, 1], in steps of a sixteenth.
    """
    result = np.zeros((height, width), np.float32)
    low = np.maximum(np.floor(polygon.min(0)).astype(int), 0)
    high = np.ceil(polygon.max(0)).astype(int)
    high = np.minimum(high, (width, height))
    if (high <= low).any():
        return result
    columns, rows = (high - low) * _CELLS
    start = (polygon - low) * _CELLS
    end = np.roll(start, -1, 0)
    center = np.arange(rows) + 0.5
    crossed = (start[:, 1:] <= center) != (end[:, 1:] <= center)
    edge, row = np.nonzero(crossed)
    first, last = start[edge], end[edge]
    part = (center[row] - first[:, 1]) / (last[:, 1] - first[:, 1])
    x = first[:, 0] + part * (last[:, 0] - first[:, 0])
    column = np.clip(np.ceil(x - 0.5), 0, columns).astype(int)
    toggles = np.zeros((rows, columns + 1), np.int32)
    np.add.at(toggles, (row, column), 1)
    inside = np.cumsum(toggles[:, :columns], 1) & 1
    cells = inside.reshape(rows // _CELLS, _CELLS, columns // _CELLS, _CELLS)
    result[low[1] : high[1], low[0] : high[0]] = cells.mean((1, 3))
    return result


def _add_shape(
    rng: np.random.Generator, canvas: Array, objects: list[SceneObject]
) -> None:
    label = int(rng.integers(len(SHAPE_CLASSES)))
    size = len(canvas)
    # Radii of 8 to 26 % of the side, small ones more often than large ones.
    radius = float(np.exp(rng.uniform(np.log(0.08), np.log(0.26)))) * size
    for _ in range(_PLACING_TRIES):
        polygon = _placed(
            rng, outline(rng, SHAPE_CLASSES[label]), radius, size
        )
        alpha = coverage(polygon, size, size)
        mask = alpha >= 0.5
        inside = mask.sum() / max(_area(polygon), 1.0)
        if inside > 0.6 and _leaves_visible(mask, objects):
            typical = rng.random() < _TYPICAL
            _paint(rng, canvas, alpha, label if typical else None)
            _cover(objects, mask)
            objects.append(SceneObject(label, polygon, mask, mask.copy()))
            return


def _add_distractor(
    rng: np.random.Generator, canvas: Array, objects: list[SceneObject]
) -> None:
    size = len(canvas)
    kind = DISTRACTORS[int(rng.integers(len(DISTRACTORS)))]
    radius = float(rng.uniform(0.06, 0.2)) * size
    alpha = coverage(
        _placed(rng, outline(rng, kind), radius, size), size, size
    )
    if _leaves_visible(alpha >= 0.5, objects):
        _paint(rng, canvas, alpha)
        _cover(objects, alpha >= 0.5)


def _add_crowd(
    rng: np.random.Generator, canvas: Array, objects: list[SceneObject]
) -> None:
    """Add a heap of tiny shapes that is marked as one ignored crowd."""
    size = len(canvas)
    heart = rng.uniform(0.15, 0.85, 2) * size
    total: Array = np.zeros((size, size), np.float32)
    for _ in range(int(rng.integers(6, 11))):
        kind = SHAPE_CLASSES[int(rng.integers(len(SHAPE_CLASSES)))]
        turn = _rotation(rng.uniform(0, 2 * np.pi))
        center = heart + rng.normal(0, 0.05 * size, 2)
        points = outline(rng, kind) @ turn.T * (0.022 * size) + center
        total = np.maximum(
            total, coverage(points.astype(np.float32), size, size)
        )
    mask = total >= 0.5
    if mask.any() and _leaves_visible(mask, objects):
        _paint(rng, canvas, total)
        _cover(objects, mask)
        objects.append(SceneObject(-1, None, mask, mask.copy()))


def _leaves_visible(mask: Mask, objects: list[SceneObject]) -> bool:
    if not mask.any():
        return False
    for item in objects:
        left = (item.visible & ~mask).sum()
        if left < _MIN_VISIBLE * item.full.sum():
            return False
    return True


def _cover(objects: list[SceneObject], mask: Mask) -> None:
    for item in objects:
        item.visible &= ~mask


def _paint(
    rng: np.random.Generator,
    canvas: Array,
    alpha: Array,
    label: int | None = None,
) -> None:
    """Paint a textured shape into the canvas, in place.

    The color is moved toward the surface around it by a random part, so that
    some objects are hard to see. With a label it starts near that class's.
    """
    rows = np.flatnonzero(alpha.any(1))
    columns = np.flatnonzero(alpha.any(0))
    if not len(rows):
        return
    window = (
        slice(rows[0], rows[-1] + 1),
        slice(columns[0], columns[-1] + 1),
    )
    below, weight = canvas[window], alpha[window][..., None]
    around = below.mean((0, 1))
    fill = texture(rng, below.shape[0], below.shape[1], contrast=0.25)
    contrast = np.float32(rng.uniform(0.5, 1.0))
    color = fill.mean((0, 1))
    if label is not None:
        color = np.array(SHAPE_PALETTE[label], np.float32) / 255
        color = color + rng.normal(0, 0.08, 3).astype(np.float32)
    offset = (color - around) * contrast
    strength = float(np.abs(offset).max())
    if strength < 0.25:
        # Too close to be seen: go lighter or darker, whichever has room.
        sign = 1 if around.mean() < 0.5 else -1
        offset = offset + np.float32(sign * 0.3)
    fill = np.clip(around + offset + fill - fill.mean((0, 1)), 0, 1)
    canvas[window] = below + weight * (fill - below)


def _placed(
    rng: np.random.Generator, points: Array, radius: float, size: int
) -> Array:
    """Stretch, turn, scale and move an outline."""
    stretch = np.exp(rng.uniform(-0.15, 0.15))
    shape = points * np.array([stretch, 1 / stretch])
    turned = shape @ _rotation(rng.uniform(0, 2 * np.pi)).T
    center = rng.uniform(0.04, 0.96, 2) * size
    return np.asarray(turned * radius + center, np.float32)


def _area(polygon: Array) -> float:
    x, y = polygon[:, 0], polygon[:, 1]
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def _on_circle(turns: NDArray[np.floating]) -> NDArray[np.floating]:
    angle = 2 * np.pi * turns
    return np.stack([np.sin(angle), np.cos(angle)], 1)


def _rotation(angle: float) -> NDArray[np.floating]:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])
