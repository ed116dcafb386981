"""Test what is read from data samples."""

from __future__ import annotations

import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample

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
    boxes = box_tensors(valid_sizes(inputs, samples), samples)
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


def label_map(labels) -> SegDataSample:
    sample = SegDataSample(metainfo=dict(img_shape=(2, 3)))
    sample.gt_sem_seg = PixelData(data=torch.tensor(labels)[None])
    return sample


def test_of_an_image_with_a_label_map_all_that_is_valid_is_kept_in_view():
    inputs = torch.zeros(1, 3, 4, 8)
    samples = [label_map([[0, 0, 0], [1, 1, 1]])]
    (boxes,) = box_tensors(valid_sizes(inputs, samples), samples)
    assert boxes.tolist() == [[0, 0, 3, 2]]


def test_images_of_which_no_pixel_counts_are_left_out() -> None:
    inputs = torch.arange(3.0)[:, None, None, None].expand(3, 3, 2, 3)
    nothing, something = [[255] * 3] * 2, [[255, 255, 4], [255] * 3]
    samples = [label_map(m) for m in (nothing, something, nothing)]
    kept, kept_samples = with_objects(inputs, samples)
    assert torch.equal(kept, inputs[1:2])
    assert kept_samples == samples[1:2]
    kept, _ = with_objects(inputs, samples, ignored=4)
    assert torch.equal(kept, inputs)
