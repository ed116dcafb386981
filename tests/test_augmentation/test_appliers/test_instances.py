"""Test that the instances of one image stay in step under a warp."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.structures import InstanceData
from torch import Tensor

from mmtst.augmentation.appliers import warp_instances, warp_masks
from mmtst.geometry import warp_boxes
from mmtst.utils.errors import ConfigError

HEIGHT, WIDTH = 40, 60
SIZE = torch.tensor([HEIGHT, WIDTH])
SHIFT = torch.tensor([[1.0, 0, -12], [0, 1, 4]])
# Out of view, 40 % in view, whole, whole.
BOXES = torch.tensor(
    [[0.0, 0, 10, 10], [0, 10, 20, 20], [30, 5, 45, 25], [20, 20, 40, 30]]
)


def _square(box: Tensor) -> np.ndarray:
    x1, y1, x2, y2 = box.tolist()
    return np.array([x1, y1, x2, y1, x2, y2, x1, y2], dtype=np.float32)


def _bitmaps(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    masks = np.zeros((len(BOXES), height, width), dtype=np.uint8)
    for mask, box in zip(masks, BOXES.int().tolist(), strict=True):
        mask[box[1] : box[3], box[0] : box[2]] = 1
    return masks


def _instances(**fields: object) -> InstanceData:
    return InstanceData(
        metainfo={'origin': 'here'},
        bboxes=BOXES.clone(),
        labels=torch.tensor([5, 6, 7, 8]),
        **fields,
    )


def test_boxes_labels_and_any_other_field_stay_in_step() -> None:
    instances = _instances(
        areas=np.array([0.0, 1.0, 2.0, 3.0]),
        names=['a', 'b', 'c', 'd'],
        logits=torch.arange(8.0).view(4, 2),
    )
    moved = warp_instances(instances, SHIFT, SIZE)
    expected, _ = warp_boxes(BOXES, SHIFT, SIZE)
    assert torch.equal(moved.bboxes, expected[1:])
    assert moved.labels.tolist() == [6, 7, 8]
    assert moved.areas.tolist() == [1, 2, 3]
    assert moved.names == ['b', 'c', 'd']
    assert moved.logits.tolist() == [[2, 3], [4, 5], [6, 7]]
    assert moved.metainfo == {'origin': 'here'}


def test_the_thresholds_are_the_arguments() -> None:
    moved = warp_instances(_instances(), SHIFT, SIZE, min_visible=0.5)
    assert moved.labels.tolist() == [7, 8]
    moved = warp_instances(_instances(), SHIFT, SIZE, min_side=12.0)
    assert moved.labels.tolist() == [7]


def test_mmdet_boxes_come_back_as_mmdet_boxes() -> None:
    instances = _instances()
    plain = warp_instances(instances, SHIFT, SIZE).bboxes
    instances.bboxes = HorizontalBoxes(BOXES.clone())
    moved = warp_instances(instances, SHIFT, SIZE)
    assert isinstance(moved.bboxes, HorizontalBoxes)
    assert torch.equal(moved.bboxes.tensor, plain)
    assert torch.equal(instances.bboxes.tensor, BOXES)


@pytest.mark.parametrize('below', [0, 8])
def test_bitmaps_move_and_keep_their_canvas(below: int) -> None:
    """The canvas is the padded size where the preprocessor pads masks."""
    masks = BitmapMasks(_bitmaps(HEIGHT + below), HEIGHT + below, WIDTH)
    before = masks.masks.copy()
    moved = warp_instances(_instances(masks=masks), SHIFT, SIZE)
    assert isinstance(moved.masks, BitmapMasks)
    assert (moved.masks.height, moved.masks.width) == (HEIGHT + below, WIDTH)
    assert moved.masks.masks.dtype == np.uint8
    expected = np.zeros_like(before)[1:]
    expected[:, 4:HEIGHT, :-12] = before[1:, : HEIGHT - 4, 12:]
    np.testing.assert_array_equal(moved.masks.masks, expected)
    np.testing.assert_array_equal(masks.masks, before)
    boxes = moved.masks.get_bboxes(HorizontalBoxes).tensor
    assert torch.equal(boxes, moved.bboxes)


def test_polygons_move_with_the_boxes() -> None:
    masks = PolygonMasks([[_square(b)] for b in BOXES], HEIGHT, WIDTH)
    moved = warp_instances(_instances(masks=masks), SHIFT, SIZE)
    assert isinstance(moved.masks, PolygonMasks)
    assert len(moved.masks) == len(moved) == 3
    boxes = moved.masks.get_bboxes(HorizontalBoxes).tensor
    torch.testing.assert_close(boxes, moved.bboxes)
    np.testing.assert_array_equal(masks.masks[0][0], _square(BOXES[0]))


def test_tensor_masks_move_like_bitmaps() -> None:
    masks = torch.from_numpy(_bitmaps()).bool()
    moved = warp_instances(_instances(masks=masks), SHIFT, SIZE)
    bitmaps = BitmapMasks(_bitmaps(), HEIGHT, WIDTH)
    expected = warp_instances(_instances(masks=bitmaps), SHIFT, SIZE)
    assert moved.masks.dtype == torch.bool
    np.testing.assert_array_equal(moved.masks, expected.masks.masks)


@pytest.mark.parametrize('kind', ['bitmap', 'polygon', 'tensor'])
def test_an_instance_whose_mask_has_left_goes_too(kind: str) -> None:
    """The box of instance 1 stays in view, but its mask is at its left."""
    array = _bitmaps()
    array[1, :, 5:] = 0
    masks: object = BitmapMasks(array, HEIGHT, WIDTH)
    if kind == 'polygon':
        polygons = [[_square(b)] for b in BOXES]
        polygons[1] = [_square(torch.tensor([0.0, 10, 5, 20]))]
        masks = PolygonMasks(polygons, HEIGHT, WIDTH)
    elif kind == 'tensor':
        masks = torch.from_numpy(array)
    moved = warp_instances(_instances(masks=masks), SHIFT, SIZE)
    assert moved.labels.tolist() == [7, 8]
    assert len(moved.masks) == 2
    # Mask and box still belong together.
    other = moved.masks
    if kind == 'tensor':
        other = BitmapMasks(moved.masks.numpy(), HEIGHT, WIDTH)
    boxes = other.get_bboxes(HorizontalBoxes).tensor
    torch.testing.assert_close(boxes, moved.bboxes)


@pytest.mark.parametrize('start', ['empty', 'emptied'])
def test_no_instances(start: str) -> None:
    """None to begin with, or none left: every field has its shape."""
    bitmaps = BitmapMasks(_bitmaps(), HEIGHT, WIDTH)
    polygons = PolygonMasks([[_square(b)] for b in BOXES], HEIGHT, WIDTH)
    for masks in (bitmaps, polygons):
        instances = _instances(masks=masks)
        matrix = SHIFT
        if start == 'empty':
            instances = instances[instances.labels > 99]
        else:
            matrix = torch.tensor([[1.0, 0, 500], [0, 1, 0]])
        moved = warp_instances(instances, matrix, SIZE)
        assert len(moved) == 0
        assert moved.bboxes.shape == (0, 4)
        assert moved.labels.shape == (0,)
        assert type(moved.masks) is type(masks)
        assert len(moved.masks) == 0
    assert len(warp_instances(InstanceData(), SHIFT, SIZE).keys()) == 0


def test_boxes_alone_are_enough() -> None:
    moved = warp_instances(InstanceData(bboxes=BOXES), SHIFT, SIZE)
    assert moved.keys() == ['bboxes']
    assert len(moved) == 3


def test_warp_masks_tells_which_are_left() -> None:
    masks = BitmapMasks(_bitmaps(), HEIGHT, WIDTH)
    warped, left = warp_masks(masks, torch.tensor([3, 0]), SHIFT, SIZE)
    assert left.tolist() == [True, False]
    assert len(warped) == 1


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'labels': torch.zeros(2)}, 'no boxes'),
        ({'bboxes': torch.zeros(2, 5)}, 'corners'),
        (
            {'bboxes': torch.ones(2, 4), 'keypoints': torch.zeros(2, 17, 3)},
            r'data_samples\.gt_instances\.keypoints',
        ),
        ({'bboxes': torch.ones(2, 4), 'masks': ['a', 'b']}, 'BitmapMasks'),
    ],
)
def test_what_cannot_be_warped_is_refused(
    fields: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        warp_instances(InstanceData(**fields), SHIFT, SIZE)
