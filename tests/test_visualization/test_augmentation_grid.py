"""Test the pictures: what is drawn must lie where the numbers say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData, PixelData
from mmpretrain.structures import DataSample
from PIL import Image

from mmtst.augmentation import AugmentationEncoder, Policy
from mmtst.visualization.augmentation_grid import (
    View,
    describe_record,
    draw_grid,
    draw_view,
    to_picture,
)

RED = (255, 0, 0)


def render(view, **options):
    """Draw one view at 8 screen pixels for each of its pixels."""
    height, width = view.image.shape[:2]
    figure = Figure(figsize=(width * 8 / 100, height * 8 / 100), dpi=100)
    canvas = FigureCanvasAgg(figure)
    axis = figure.add_axes([0, 0, 1, 1])
    draw_view(axis, view, **options)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(int)


def reddish(pixels):
    return (pixels[..., 0] - pixels[..., 1:].max(-1)) > 60


def sample_with(box, mask=None, label=0):
    instances = InstanceData(
        bboxes=torch.tensor([box], dtype=torch.float32),
        labels=torch.tensor([label]),
    )
    if mask is not None:
        instances.masks = BitmapMasks(mask[None], *mask.shape)
    sample = DetDataSample()
    sample.gt_instances = instances
    return sample


def test_box_lies_where_its_numbers_say():
    image = np.zeros((30, 40, 3), np.uint8)
    view = View(image, sample_with([10, 5, 30, 25]))
    found = reddish(render(view, palette=[RED], classes=['']))
    rows, columns = np.nonzero(found)
    # Edge-based: the box of 10..30 is drawn around 80..240 on the screen.
    assert abs(columns.min() - 80) <= 2
    assert abs(columns.max() - 240) <= 2
    assert abs(rows.max() - 200) <= 2
    assert not found[60:190, 100:220].any()


def test_mask_is_laid_over_its_pixels_alone():
    image = np.zeros((20, 20, 3), np.uint8)
    mask = np.zeros((20, 20), np.uint8)
    mask[4:8, 10:16] = 1
    view = View(image, sample_with([10, 4, 16, 8], mask))
    pixels = render(view, palette=[RED], classes=[''])
    inner = pixels[4 * 8 + 4 : 8 * 8 - 4, 10 * 8 + 4 : 16 * 8 - 4]
    assert inner[..., 0].min() > 80
    assert pixels[12 * 8 :, :].max() == 0


def test_ignored_boxes_are_dashed_and_white():
    image = np.zeros((20, 20, 3), np.uint8)
    sample = DetDataSample()
    sample.gt_instances = InstanceData(
        bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long)
    )
    sample.ignored_instances = InstanceData(
        bboxes=torch.tensor([[2.0, 2.0, 18.0, 18.0]]),
        labels=torch.tensor([0]),
    )
    pixels = render(View(image, sample), palette=[RED])
    assert not reddish(pixels).any()
    edge = pixels[10:150, 14:19].max(1).min(-1) > 100
    assert 0.3 < edge.mean() < 0.95


@pytest.mark.parametrize(
    ('classes', 'zero_is_drawn'), [(['background'], False), (['road'], True)]
)
def test_label_map(classes, zero_is_drawn):
    image = np.zeros((16, 16, 3), np.uint8)
    labels = torch.zeros(1, 16, 16, dtype=torch.long)
    labels[:, :8] = 1
    labels[:, :, :2] = 255
    sample = DetDataSample()
    sample.gt_sem_seg = PixelData(sem_seg=labels)
    pixels = render(
        View(image, sample),
        classes=[*classes, 'car'],
        palette=[(0, 255, 0), RED],
    )
    assert reddish(pixels)[8:60, 24:120].all()
    assert pixels[8:120, 4:12].min() > 60
    assert (pixels[70:120, 24:120, 1].min() > 60) == zero_is_drawn


def test_classification_label_is_written():
    image = np.zeros((24, 40, 3), np.uint8)
    sample = DataSample().set_gt_label(1)
    assert render(View(image, sample), classes=['a', 'b']).max() > 200
    assert render(View(image), classes=['a', 'b']).max() == 0


def test_picture_is_clipped_and_without_padding():
    raw = torch.full((3, 8, 10), 0.5)
    raw[0, 0, 0] = 1.7
    raw[1, 0, 0] = -0.3
    picture = to_picture(raw, (6.0, 7.0))
    assert picture.shape == (6, 7, 3)
    assert picture.dtype == np.uint8
    assert picture[0, 0].tolist() == [255, 0, 128]


def test_caption_names_what_acts():
    encoder = AugmentationEncoder()
    sizes = torch.tensor([[32.0, 32.0]])
    generator = torch.Generator().manual_seed(0)
    draw = encoder.draw(sizes, generator, operators=['Rotate', 'Equalize'])
    opened = Policy(torch.full((14,), 20.0), torch.zeros(11))
    record = encoder.resolve(draw, opened)
    assert describe_record(record, 0) == 'Rotate 0.50, Equalize'
    closed = Policy(torch.full((14,), -20.0), torch.zeros(11))
    record = encoder.resolve(draw, closed)
    assert describe_record(record, 0) == 'nothing applied'


def test_grid_stays_small_even_with_noise(tmp_path):
    rng = np.random.default_rng(0)
    views = [
        View(rng.integers(0, 256, (120, 160, 3), np.uint8), None, 'noise')
        for _ in range(12)
    ]
    pairs = list(zip(views[::2], views[1::2], strict=True))
    path = tmp_path / 'deep' / 'grid.png'
    draw_grid(pairs, path, max_bytes=150_000)
    assert path.stat().st_size <= 150_000
    with Image.open(path) as picture:
        assert picture.format == 'PNG'
        wide = picture.width / picture.height
    # Two pairs a row, three rows of 4:3 pictures.
    assert 1.3 < wide < 2.0


def test_one_pair_makes_one_row(tmp_path):
    view = View(np.full((50, 50, 3), 200, np.uint8), None, 'flat')
    draw_grid([(view, view)], tmp_path / 'one.png')
    with Image.open(tmp_path / 'one.png') as picture:
        assert picture.width > 1.5 * picture.height


@pytest.mark.parametrize('lines', [1, 2, 4])
@pytest.mark.parametrize('size', [(60, 80), (80, 60)])
def test_no_line_of_a_caption_is_cut_off(tmp_path, lines, size):
    caption = ', '.join(['TranslateX 0.60, TranslateY 0.55'] * lines)
    view = View(np.zeros((*size, 3), np.uint8), None, caption)
    draw_grid([(view, view)], tmp_path / 'one.png')
    with Image.open(tmp_path / 'one.png') as picture:
        dark = np.array(picture.convert('L')) < 128
    # From the right of the two pictures, which are black, upward.
    rows = dark.any(axis=1)
    starts = np.flatnonzero(rows & ~np.r_[False, rows[:-1]])
    assert starts[0] >= 3
    assert len(starts) == lines + 1
