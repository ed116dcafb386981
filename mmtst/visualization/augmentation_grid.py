"""Draw images before and after the augmentation, with their ground truth.

Convention: images are (H, W, 3) uint8 RGB; coordinates are edge-based, pixel
(i, j) covers [j, j + 1] x [i, i + 1], so a box is drawn where its numbers say.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image

from mmtst.augmentation.base import (
    MAGNITUDE_OPERATORS,
    OPERATORS,
    AugmentRecord,
)
from mmtst.utils.writing import writing

Color = tuple[int, int, int]

# Bright enough to be seen on photographs.
DEFAULT_PALETTE: tuple[Color, ...] = (
    (255, 80, 80),
    (60, 170, 255),
    (255, 190, 40),
    (70, 220, 130),
    (210, 120, 255),
    (60, 230, 230),
    (255, 140, 210),
    (190, 220, 60),
)
IGNORED_COLOR: Color = (255, 255, 255)
_MAX_COLUMNS = 4


@dataclass(frozen=True)
class View:
    """Hold one picture of a grid.

    Attributes:
        image: (H, W, 3), uint8, RGB, without padding.
        sample: Its data sample (detection, segmentation or classification);
            ``None`` draws the image alone.
        caption: Text above the picture.
    """

    image: NDArray[np.uint8]
    sample: Any = None
    caption: str = ''


def to_picture(raw: torch.Tensor, size: Sequence[float]) -> NDArray[np.uint8]:
    """Turn a tensor into a picture, without its padding.

    Args:
        raw: (3, H, W), RGB, in [0, 1]; values outside are clipped.
        size: (height, width) of the valid region at the upper left.
    """
    height, width = (round(float(side)) for side in size)
    valid = raw[:, :height, :width].detach().float().cpu()
    pixels = valid.clamp(0, 1).mul(255).round().permute(1, 2, 0)
    return np.asarray(pixels.numpy(), np.uint8)


def describe_record(
    record: AugmentRecord, index: int, least: float = 0.05
) -> str:
    """Say which operators act on an image, and how strongly.

    Args:
        record: The record of a batch.
        index: Of the image in the batch.
        least: Gates under this are left out.

    Returns:
        For example ``Rotate 0.52, Equalize``: the magnitude in [0, 1] where
        there is one, and the gate in front where it is not nearly one.
    """
    parts = []
    for place, name in enumerate(OPERATORS):
        gate = float(record.gates[index, place])
        if gate < least:
            continue
        text = name if gate > 0.95 else f'{gate:.2f} x {name}'
        if name in MAGNITUDE_OPERATORS:
            column = MAGNITUDE_OPERATORS.index(name)
            text += f' {float(record.magnitudes[index, column]):.2f}'
        parts.append(text)
    return ', '.join(parts) or 'nothing applied'


def draw_grid(
    pairs: Sequence[tuple[View, View]],
    path: str | Path,
    *,
    classes: Sequence[str] = (),
    palette: Sequence[Color] | None = None,
    max_bytes: int = 300_000,
) -> None:
    """Write before/after pairs as one PNG.

    Args:
        pairs: (before, after) views, drawn side by side.
        path: The PNG to write; its folder is made.
        classes: Names for the labels of the boxes.
        palette: A color for each class, 0..255.
        max_bytes: The resolution goes down until the file is this small.
    """
    columns = min(_MAX_COLUMNS, 2 * len(pairs))
    rows = -(-2 * len(pairs) // columns)
    shapes = [view.image.shape for pair in pairs for view in pair]
    aspect = max(shape[0] / shape[1] for shape in shapes)
    width = 3.0
    lines = max(
        _wrapped(view.caption).count('\n') + 1
        for pair in pairs
        for view in pair
    )
    above = 0.06 + 0.13 * lines  # inches
    figure = Figure(
        figsize=(width * columns, (width * aspect + above) * rows),
        layout='constrained',
    )
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False)
    axes: list[Axes] = list(grid.ravel())
    views = [view for pair in pairs for view in pair]
    for axis, view in zip(axes, views, strict=False):
        draw_view(axis, view, classes, palette)
        axis.set_anchor('S')  # What is left of the height is the caption's.
    for axis in axes[len(views) :]:
        axis.set_visible(False)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path):
        path.write_bytes(_small_png(figure, max_bytes))


def draw_view(
    axis: Axes,
    view: View,
    classes: Sequence[str] = (),
    palette: Sequence[Color] | None = None,
) -> None:
    """Draw a picture with its boxes, masks and label map.

    Boxes of a class are solid with their name, ignored ones dashed white.

    Args:
        axis: Where to draw; its axes are hidden.
        view: What to draw.
        classes: Names for the labels of the boxes.
        palette: A color for each class, 0..255.
    """
    height, width = view.image.shape[:2]
    axis.imshow(view.image, extent=(0, width, height, 0))
    axis.set_axis_off()
    axis.set_title(_wrapped(view.caption), fontsize=7)
    colors = palette or DEFAULT_PALETTE
    labels = getattr(view.sample, 'gt_sem_seg', None)
    if labels is not None:
        # mmdet calls the map sem_seg, mmseg data.
        plane = _array(labels.get('sem_seg', labels.get('data')))
        plane = plane.reshape(plane.shape[-2:])[:height, :width]
        _overlay_labels(axis, plane, colors, classes)
    for field in ('ignored_instances', 'gt_instances'):
        instances = getattr(view.sample, field, None)
        if instances is not None:
            ignored = field == 'ignored_instances'
            _draw_instances(
                axis,
                instances,
                height,
                width,
                colors,
                classes,
                ignored=ignored,
            )
    label = getattr(view.sample, 'gt_label', None)
    if label is not None:
        names = [_name(int(i), classes) for i in label.reshape(-1)]
        axis.text(
            2,
            2,
            ', '.join(names),
            va='top',
            fontsize=7,
            color='white',
            bbox={'facecolor': 'black', 'alpha': 0.6, 'pad': 1},
        )
    # What is drawn beyond the picture must not widen it.
    axis.set_xlim(0, width)
    axis.set_ylim(height, 0)


def _draw_instances(
    axis: Axes,
    instances: Any,
    height: int,
    width: int,
    colors: Sequence[Color],
    classes: Sequence[str],
    *,
    ignored: bool,
) -> None:
    boxes = instances.get('bboxes')
    if boxes is None:
        return
    corners = _array(getattr(boxes, 'tensor', boxes)).reshape(-1, 4)
    labels = instances.get('labels')
    masks = instances.get('masks')
    bitmaps = None if masks is None else masks.to_ndarray().astype(bool)
    for index, (x1, y1, x2, y2) in enumerate(corners.tolist()):
        label = -1 if labels is None else int(labels[index])
        color = IGNORED_COLOR if ignored else colors[label % len(colors)]
        unit = tuple(value / 255 for value in color)
        if bitmaps is not None:
            _overlay(axis, bitmaps[index][:height, :width], color)
        axis.add_patch(
            Rectangle(
                (x1, y1),
                x2 - x1,
                y2 - y1,
                fill=False,
                edgecolor=unit,
                linewidth=1.0,
                linestyle='--' if ignored else '-',
            )
        )
        if not ignored and labels is not None:
            axis.text(
                x1,
                y1,
                _name(label, classes),
                fontsize=5,
                color='black',
                va='bottom' if y1 > height / 20 else 'top',
                clip_on=True,
                bbox={
                    'facecolor': unit,
                    'edgecolor': 'none',
                    'pad': 0.4,
                    'alpha': 0.8,
                },
            )


def _overlay_labels(
    axis: Axes,
    labels: NDArray[Any],
    colors: Sequence[Color],
    classes: Sequence[str],
) -> None:
    for value in np.unique(labels).tolist():
        if _name(value, classes) == 'background':
            continue
        color = IGNORED_COLOR if value == 255 else colors[value % len(colors)]
        _overlay(axis, labels == value, color)


def _overlay(axis: Axes, mask: NDArray[np.bool_], color: Color) -> None:
    height, width = mask.shape
    layer = np.zeros((height, width, 4), np.float32)
    layer[..., :3] = np.array(color) / 255
    layer[..., 3] = 0.4 * mask
    axis.imshow(layer, extent=(0, width, height, 0), interpolation='nearest')


def _small_png(figure: Figure, max_bytes: int) -> bytes:
    """Save at the best quality that is small enough.

    Fewer colors come before fewer pixels: noise in photographs makes PNG
    large, and a palette does not blur boxes.
    """
    data = b''
    for dpi in (110, 95, 80, 68, 58, 48, 40, 32, 25):
        buffer = io.BytesIO()
        figure.savefig(buffer, dpi=dpi, format='png')
        picture = Image.open(buffer).convert('RGB')
        for colors in (None, 256):
            data = _png(picture, colors)
            if len(data) <= max_bytes:
                return data
    return data


def _png(picture: Image.Image, colors: int | None) -> bytes:
    if colors is not None:
        # The octree spreads its colors over all that occur; median cut
        # would give them to the noise and none to thin lines.
        picture = picture.quantize(
            colors, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE
        )
    buffer = io.BytesIO()
    picture.save(buffer, format='PNG', optimize=True)
    return buffer.getvalue()


def _wrapped(text: str, width: int = 44) -> str:
    lines = ['']
    for part in text.split(', '):
        joined = f'{lines[-1]}, {part}' if lines[-1] else part
        if lines[-1] and len(joined) > width:
            lines.append(part)
        else:
            lines[-1] = joined
    return ',\n'.join(lines)


def _name(label: int, classes: Sequence[str]) -> str:
    return classes[label] if 0 <= label < len(classes) else str(label)


def _array(values: Any) -> NDArray[Any]:
    return np.asarray(values.detach().cpu().numpy())
