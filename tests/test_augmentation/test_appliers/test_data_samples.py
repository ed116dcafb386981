"""Test that ground truth moves as the record says."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.structures import BaseDataElement, InstanceData, PixelData
from mmpretrain.structures import DataSample
from mmseg.structures import SegDataSample
from torch import Tensor

from mmtst.augmentation.appliers import apply_to_samples
from mmtst.augmentation.base import (
    AFFINE_OPERATORS,
    AugmentDraw,
    AugmentRecord,
    Policy,
)
from mmtst.augmentation.encoder import AugmentationEncoder
from mmtst.geometry import identity_matrix, warp_boxes, warp_images
from mmtst.utils.errors import ConfigError


def _record(matrix: Tensor, sizes: Tensor) -> AugmentRecord:
    batch = len(sizes)
    draw = AugmentDraw(
        sizes=sizes.float(),
        selected=torch.zeros(batch, 14, dtype=torch.bool),
        gate_noise=torch.zeros(batch, 14),
        magnitude_noise=torch.zeros(batch, 11),
        apply_noise=torch.zeros(batch, 11),
        encoder_noise=torch.zeros(batch, 11, 1),
        mirror=torch.ones(batch, 11),
        cutout_center=torch.zeros(batch, 2),
        shrink=torch.ones(batch),
    )
    return AugmentRecord(
        draw,
        gates=torch.zeros(batch, 14),
        magnitudes=torch.zeros(batch, 11),
        apply_gates=torch.ones(batch, 11),
        matrix=matrix,
    )


def _turn(angle: float, size: tuple[int, int], shift: float = 0.0) -> Tensor:
    """Rotate about the center of the valid region, then shift in x."""
    cos, sin = math.cos(angle), math.sin(angle)
    linear = torch.tensor([[cos, -sin], [sin, cos]])
    center = torch.tensor([size[1] / 2, size[0] / 2])
    moved = center - linear @ center + torch.tensor([shift, 0.0])
    return torch.cat([linear, moved[:, None]], dim=1)


def _polygon(box: list[int]) -> np.ndarray:
    x1, y1, x2, y2 = box
    return np.array([x1, y1, x2, y1, x2, y2, x1, y2], dtype=np.float64)


def _scene(
    size: tuple[int, int], canvas: tuple[int, int], kind: str, seed: int
) -> tuple[Tensor, DetDataSample]:
    """Paint boxes into an image, and return what a loader would give."""
    generator = np.random.default_rng(seed)
    image = torch.zeros(3, *canvas)
    image[:, size[0] :] = image[:, :, size[1] :] = 0.5  # padding
    labels = torch.full((1, *canvas), 255)
    labels[:, : size[0], : size[1]] = 0
    bitmaps = np.zeros((3, *canvas), dtype=np.uint8)
    boxes = []
    for i in range(3):
        # One column each, so that what is painted can be told apart.
        third = size[1] // 3
        x1 = int(generator.integers(i * third, i * third + third - 12))
        x2 = int(generator.integers(x1 + 9, (i + 1) * third))
        y1 = int(generator.integers(0, size[0] - 12))
        y2 = int(generator.integers(y1 + 9, size[0]))
        boxes.append([x1, y1, x2, y2])
        image[i, y1:y2, x1:x2] = 1
        labels[0, y1:y2, x1:x2] = i + 1
        bitmaps[i, y1:y2, x1:x2] = 1
    masks = BitmapMasks(bitmaps, *canvas)
    if kind == 'polygon':
        masks = PolygonMasks([[_polygon(b)] for b in boxes], *canvas)
    sample = DetDataSample(metainfo={'img_shape': size, 'img_id': seed})
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor(boxes).float(),
        labels=torch.tensor([1, 2, 3]),
        masks=masks,
    )
    sample.ignored_instances = InstanceData(
        bboxes=torch.tensor(boxes[::-1]).float(),
        labels=torch.tensor([3, 2, 1]),
    )
    sample.gt_sem_seg = PixelData(sem_seg=labels)
    return image, sample


@pytest.mark.parametrize('kind', ['bitmap', 'polygon'])
@pytest.mark.parametrize('seed', range(4))
def test_painted_objects_land_where_every_label_says(
    kind: str, seed: int
) -> None:
    """Image, boxes, ignored boxes, masks and label map, in a padded batch."""
    canvas = (96, 112)
    sizes = [(96, 90), (70, 112), (81, 99)]
    scenes = [
        _scene(s, canvas, kind, seed * 3 + i) for i, s in enumerate(sizes)
    ]
    generator = np.random.default_rng(seed)
    angles = generator.uniform(-0.5, 0.5, 3)
    matrix = torch.stack(
        [_turn(a, s) for a, s in zip(angles, sizes, strict=True)]
    ).float()
    record = _record(matrix, torch.tensor(sizes))
    images = torch.stack([image for image, _ in scenes])
    warped = warp_images(images, record.matrix, record.sizes)
    samples = apply_to_samples(record, [sample for _, sample in scenes])

    whole = 0
    for i, (size, (_, old), new) in enumerate(
        zip(sizes, scenes, samples, strict=True)
    ):
        valid = (slice(0, size[0]), slice(0, size[1]))
        instances = new.gt_instances
        assert len(instances) == len(instances.masks)
        bitmaps = instances.masks.to_ndarray().astype(bool)
        semantic = new.gt_sem_seg.sem_seg[0].numpy()
        _, visible = warp_boxes(
            old.gt_instances.bboxes, matrix[i], torch.tensor(size)
        )
        for j, label in enumerate(instances.labels.tolist()):
            painted = warped[i, label - 1].numpy()[valid]
            if visible[label - 1] > 1 - 1e-5:
                whole += 1
                rows, columns = np.nonzero(painted > 0.25)
                extent = [columns.min(), rows.min()]
                extent += [columns.max() + 1, rows.max() + 1]
                box = instances.bboxes[j].numpy()
                assert np.abs(np.array(extent) - box).max() <= 1
            core = painted > 0.5
            for other in (bitmaps[j][valid], (semantic == label)[valid]):
                assert (core & other).sum() / (core | other).sum() > 0.85
        again = new.ignored_instances
        order = again.labels.argsort()
        kept = torch.isin(again.labels[order], instances.labels)
        assert again.labels[order][kept].equal(instances.labels)
        assert again.bboxes[order][kept].equal(instances.bboxes)
    assert whole >= 3


def test_replay_is_exact_and_inputs_are_not_edited() -> None:
    size = (64, 80)
    for kind in ('bitmap', 'polygon'):
        _, sample = _scene(size, size, kind, 0)
        before = copy.deepcopy(sample)
        record = _record(_turn(0.3, size, 20.0)[None], torch.tensor([size]))
        first = apply_to_samples(record, [sample])
        second = apply_to_samples(record, [sample])
        _assert_same(first[0], second[0])
        _assert_same(sample, before)
        assert type(first[0]) is DetDataSample
        assert first[0].metainfo == sample.metainfo


@pytest.mark.parametrize('shift', [0.0, 1e-8, 5e-4])
def test_an_image_that_is_not_moved_keeps_its_ground_truth(
    shift: float,
) -> None:
    """Boxes under a pixel and out of the image too, and no memory shared."""
    size = (64, 80)
    _, sample = _scene(size, size, 'bitmap', 0)
    sample.gt_instances.bboxes[0] = torch.tensor([3.0, 3, 3.4, 3.4])
    sample.gt_instances.bboxes[1] = torch.tensor([70.0, 3, 99, 30])
    before = copy.deepcopy(sample)
    matrix = identity_matrix(1)
    matrix[..., 2] += shift
    record = _record(matrix, torch.tensor([size]))
    (same,) = apply_to_samples(record, [sample])
    _assert_same(same, before)
    same.gt_instances.bboxes.zero_()
    same.gt_instances.masks.masks[:] = 0
    same.gt_sem_seg.sem_seg.zero_()
    _assert_same(sample, before)


def test_a_hundredth_of_a_pixel_is_a_move() -> None:
    sample = DetDataSample()
    sample.gt_instances = InstanceData(bboxes=torch.tensor([[1.0, 1, 5, 5]]))
    matrix = identity_matrix(1)
    matrix[0, 0, 2] = 0.01
    record = _record(matrix, torch.tensor([[8, 8]]))
    (moved,) = apply_to_samples(record, [sample])
    assert moved.gt_instances.bboxes[0, 0].item() == pytest.approx(1.01)


def test_images_without_objects() -> None:
    empty = DetDataSample()
    empty.gt_instances = InstanceData(
        bboxes=torch.zeros(0, 4),
        labels=torch.zeros(0, dtype=torch.long),
        masks=BitmapMasks([], 50, 50),
    )
    empty.ignored_instances = InstanceData()
    away = DetDataSample()
    away.gt_instances = InstanceData(
        bboxes=HorizontalBoxes([[1.0, 1, 9, 9]]), labels=torch.tensor([4])
    )
    matrix = torch.stack([_turn(0.2, (50, 50)), _turn(0.0, (50, 50), 48.5)])
    record = _record(matrix, torch.full((2, 2), 50))
    moved = apply_to_samples(record, [empty, away])
    for sample in moved:
        assert len(sample.gt_instances) == 0
        assert sample.gt_instances.labels.shape == (0,)
        assert len(sample.gt_instances.bboxes) == 0
    assert len(moved[0].gt_instances.masks) == 0
    assert isinstance(moved[1].gt_instances.bboxes, HorizontalBoxes)


def test_ignored_regions_stay_while_anything_is_in_view() -> None:
    """Of both boxes a twentieth is left: no object, but still ignored."""
    box = torch.tensor([[0.0, 0, 40, 40]])
    sample = DetDataSample()
    for name in ('gt_instances', 'ignored_instances', 'proposals'):
        setattr(sample, name, InstanceData(bboxes=box.clone()))
    matrix = torch.tensor([[[1.0, 0, 48], [0, 1, 0]]])
    record = _record(matrix, torch.tensor([[50, 50]]))
    (moved,) = apply_to_samples(record, [sample])
    assert len(moved.gt_instances) == 0
    for name in ('ignored_instances', 'proposals'):
        assert moved.get(name).bboxes.tolist() == [[48, 0, 50, 40]]
    (moved,) = apply_to_samples(record, [sample], min_visible=0.04)
    assert len(moved.gt_instances) == 1


def test_segmentation_labels_move_and_the_outside_is_ignored() -> None:
    labels = torch.arange(12).view(1, 3, 4)
    sample = SegDataSample(gt_sem_seg=PixelData(data=labels))
    sample.set_metainfo({'img_shape': (2, 4)})
    matrix = torch.tensor([[[1.0, 0, 1], [0, 1, 0]]])
    record = _record(matrix, torch.tensor([[2, 4]]))
    (moved,) = apply_to_samples(record, [sample], ignore_index=200)
    assert type(moved) is SegDataSample
    expected = [[[200, 0, 1, 2], [200, 4, 5, 6], [8, 9, 10, 11]]]
    assert moved.gt_sem_seg.data.tolist() == expected
    assert moved.gt_sem_seg.data.dtype == labels.dtype
    assert moved.metainfo == sample.metainfo


def test_a_label_map_names_its_own_ignored_label() -> None:
    maps = PixelData(
        metainfo={'ignore_index': 17},
        sem_seg=torch.zeros(1, 2, 2, dtype=torch.uint8),
    )
    sample = DetDataSample()
    sample.gt_sem_seg = maps
    matrix = torch.tensor([[[1.0, 0, 1], [0, 1, 0]]])
    record = _record(matrix, torch.tensor([[2, 2]]))
    (moved,) = apply_to_samples(record, [sample])
    assert moved.gt_sem_seg.sem_seg.tolist() == [[[17, 0], [17, 0]]]
    assert moved.gt_sem_seg.metainfo == {'ignore_index': 17}


def test_labels_of_images_stay() -> None:
    sample = DataSample().set_gt_label(3).set_gt_score([0.25, 0.75])
    record = _record(_turn(0.3, (32, 32))[None], torch.tensor([[32, 32]]))
    (moved,) = apply_to_samples(record, [sample])
    assert type(moved) is DataSample
    assert moved.gt_label.tolist() == [3]
    assert moved.gt_score.tolist() == [0.25, 0.75]
    moved.gt_score.zero_()
    assert sample.gt_score.tolist() == [0.25, 0.75]


def test_ground_truth_carries_no_gradient() -> None:
    size = (64, 80)
    _, sample = _scene(size, size, 'bitmap', 1)
    matrix = _turn(0.3, size)[None].requires_grad_()
    (moved,) = apply_to_samples(
        _record(matrix, torch.tensor([size])), [sample]
    )
    assert not moved.gt_instances.bboxes.requires_grad


@pytest.mark.parametrize('moving', [False, True])
@pytest.mark.parametrize(
    'name', ['gt_edge_map', 'gt_depth_map', 'gt_panoptic_seg']
)
def test_other_ground_truth_is_refused_by_name(
    name: str, moving: bool
) -> None:
    """At the first batch, not at the first that happens to move."""
    sample = SegDataSample()
    sample.set_data({name: PixelData(data=torch.zeros(1, 8, 8))})
    record = _record(_turn(0.3 * moving, (8, 8))[None], torch.tensor([[8, 8]]))
    with pytest.raises(ConfigError, match=rf'data_samples\.{name}'):
        apply_to_samples(record, [sample])


@pytest.mark.parametrize('aspect', ['normalized', 'corrected'])
def test_the_encoders_records_move_images_and_boxes_alike(
    aspect: str,
) -> None:
    """A white rectangle on black, under every affine operator, for real."""
    encoder = AugmentationEncoder(
        num_operators=5, aspect=aspect, mirror=True, fill='black'
    )
    encoder.bind(DetDataPreprocessor())
    encoder.write_policy(Policy(torch.full((14,), 3.0), torch.zeros(11)))
    sizes = torch.tensor([[150.0, 200], [200, 140], [180, 180], [90, 200]])
    images = torch.zeros(4, 3, 200, 200)
    box = torch.tensor([[60.0, 40, 80, 55]])
    images[:, :, 40:55, 60:80] = 255
    samples = []
    for _ in range(4):
        sample = DetDataSample()
        sample.gt_instances = InstanceData(bboxes=box.clone())
        samples.append(sample)
    generator = torch.Generator().manual_seed(3)
    checked = 0
    for _ in range(6):
        draw = encoder.draw(sizes, generator, list(AFFINE_OPERATORS))
        record = encoder.resolve(draw)
        warped = encoder.augment(images, record)
        moved = apply_to_samples(record, samples)
        for i, sample in enumerate(moved):
            _, visible = warp_boxes(box, record.matrix[i], sizes[i])
            if visible.item() < 1 - 1e-5:
                continue
            rows, columns = np.nonzero(warped[i, 0].numpy() > 64)
            extent = [columns.min(), rows.min()]
            extent += [columns.max() + 1, rows.max() + 1]
            ours = sample.gt_instances.bboxes[0].numpy()
            assert np.abs(np.array(extent) - ours).max() <= 1
            assert np.abs(ours - box[0].numpy()).max() > 2
            checked += 1
    assert checked >= 12


def test_counts_and_sizes_must_fit() -> None:
    record = _record(identity_matrix(2), torch.full((2, 2), 8))
    with pytest.raises(ValueError, match='2 images, but there are 1'):
        apply_to_samples(record, [SegDataSample()])
    small = SegDataSample(gt_sem_seg=PixelData(data=torch.zeros(1, 4, 4)))
    record = _record(_turn(0.1, (8, 8))[None], torch.tensor([[8, 8]]))
    with pytest.raises(ValueError, match=r'canvas of \(4, 4\)'):
        apply_to_samples(record, [small])


def _assert_same(one: BaseDataElement, other: BaseDataElement) -> None:
    assert one.metainfo == other.metainfo
    assert sorted(one.keys()) == sorted(other.keys())
    for name, value in one.items():
        expected = other.get(name)
        assert type(value) is type(expected)
        if isinstance(value, BaseDataElement):
            _assert_same(value, expected)
        elif isinstance(value, BitmapMasks):
            np.testing.assert_array_equal(value.masks, expected.masks)
        elif isinstance(value, PolygonMasks):
            assert len(value) == len(expected)
            for ours, theirs in zip(value.masks, expected.masks, strict=True):
                np.testing.assert_array_equal(
                    np.concatenate(ours), np.concatenate(theirs)
                )
        else:
            assert torch.equal(value, expected)
