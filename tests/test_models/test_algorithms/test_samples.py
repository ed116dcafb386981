"""Test what is read from data samples."""

from __future__ import annotations

import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from mmtst.models.algorithms.samples import (
    box_tensors,
    gt_boxes,
    valid_sizes,
    with_objects,
)
from mmtst.testing.detection import detection_batch


def test_what_is_valid_is_in_the_metainfo_or_all() -> None:
    inputs, samples = detection_batch(size=(64, 96), valid=(50, 80))
    samples[1] = DetDataSample()
    assert valid_sizes(inputs, samples).tolist() == [[50, 80], [64, 96]]


def test_boxes_come_as_corners_or_none() -> None:
    inputs, samples = detection_batch()
    plain = samples[0].gt_instances.bboxes
    plain = getattr(plain, 'tensor', plain)
    samples[1] = DetDataSample()
    boxes = box_tensors(inputs, samples)
    assert torch.equal(boxes[0], plain)
    assert boxes[1].shape == (0, 4)
    assert gt_boxes(samples[1]) is None


def test_images_without_objects_are_left_out() -> None:
    inputs, samples = detection_batch()
    samples[0].gt_instances = samples[0].gt_instances[:0]
    kept, kept_samples = with_objects(inputs, samples)
    assert torch.equal(kept, inputs[1:])
    assert kept_samples == samples[1:]


def test_labels_of_another_kind_stay() -> None:
    inputs = torch.zeros(2, 3, 8, 8)
    samples = [DetDataSample(), DetDataSample(gt_instances=InstanceData())]
    kept, kept_samples = with_objects(inputs, samples)
    assert kept is inputs
    assert kept_samples == samples
