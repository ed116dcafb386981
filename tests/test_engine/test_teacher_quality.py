"""Test how a teacher is measured against ground truth."""

from __future__ import annotations

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData, PixelData
from mmpretrain.structures import DataSample
from mmseg.structures import SegDataSample

from mmtst.engine.teacher_quality import measure_teacher
from mmtst.utils.errors import ConfigError


def detection(
    boxes: list[list[float]], labels: list[int], scores: list[float]
) -> DetDataSample:
    """Two objects: class 0 on the left, class 1 on the right."""
    truth = InstanceData(
        bboxes=torch.tensor([[0.0, 0, 10, 10], [20.0, 0, 30, 10]]),
        labels=torch.tensor([0, 1]),
    )
    guess = InstanceData(
        bboxes=torch.tensor(boxes).view(-1, 4),
        labels=torch.tensor(labels),
        scores=torch.tensor(scores),
    )
    return DetDataSample(gt_instances=truth, pred_instances=guess)


LEFT, RIGHT = [0.0, 0, 10, 10], [20.0, 0, 30, 10]


@pytest.mark.parametrize(
    ('guess', 'value'),
    [
        (([LEFT, RIGHT], [0, 1], [0.9, 0.2]), 1.0),
        (([LEFT, RIGHT], [1, 0], [0.9, 0.9]), 0.0),
        (([LEFT, [20.0, 0, 24, 10]], [0, 1], [0.9, 0.9]), 0.5),
        # Only as many of the highest scores as there are objects.
        (([LEFT, LEFT, RIGHT], [0, 0, 1], [0.9, 0.8, 0.7]), 0.5),
        (([], [], []), 0.0),
    ],
)
def test_objects_are_found_by_class_and_overlap(guess, value) -> None:
    quality = measure_teacher([detection(*guess)], 2)
    assert quality.measure == 'share of objects found'
    assert quality.value == pytest.approx(value)
    assert (quality.chance, quality.images) == (0.0, 1)


def test_classes_of_pixels_count_alike() -> None:
    truth = torch.tensor([[0, 0, 0, 1], [0, 0, 0, 255]])
    sample = SegDataSample(
        gt_sem_seg=PixelData(data=truth[None]),
        pred_sem_seg=PixelData(data=torch.zeros(1, 2, 4, dtype=torch.long)),
    )
    quality = measure_teacher([sample], 2)
    assert quality.measure == 'mean accuracy of the classes'
    assert quality.value == quality.chance == 0.5


def test_labels_count_by_image() -> None:
    samples = [
        DataSample().set_gt_label(i).set_pred_label(guess)
        for i, guess in enumerate([0, 1, 2, 0])
    ]
    quality = measure_teacher(samples, 4)
    assert quality.measure == 'top-1 accuracy'
    assert quality.value == 0.75
    assert quality.chance == 0.25
    assert quality.images == 4


def test_without_ground_truth_there_is_nothing_to_say() -> None:
    assert measure_teacher([], 3) is None
    assert measure_teacher([DetDataSample()], 3) is None


def test_one_class_leaves_nothing_to_choose() -> None:
    sample = DataSample().set_gt_label(0).set_pred_label(0)
    assert measure_teacher([sample], 1) is None


def test_label_maps_of_another_size_are_refused() -> None:
    sample = SegDataSample(
        gt_sem_seg=PixelData(data=torch.zeros(1, 2, 4, dtype=torch.long)),
        pred_sem_seg=PixelData(data=torch.zeros(1, 4, 8, dtype=torch.long)),
    )
    with pytest.raises(ConfigError, match='LoadAnnotations after Resize'):
        measure_teacher([sample], 2)
