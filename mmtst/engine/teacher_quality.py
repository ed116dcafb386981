"""Measure on a few batches whether a teacher knows its task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.dist import all_reduce
from torch import Tensor

from mmtst.utils.errors import ConfigError

_IOU = 0.5


@dataclass(frozen=True)
class TeacherQuality:
    """Hold how good predictions are, and what a guess would reach.

    Attributes:
        measure: What ``value`` is, in words.
        value: In [0, 1].
        chance: What is reached without looking at the images.
        images: How many were looked at, over all ranks.
    """

    measure: str
    value: float
    chance: float
    images: int


def measure_teacher(
    samples: Sequence[Any], num_classes: int
) -> TeacherQuality | None:
    """Compare predictions with the ground truth of the same samples.

    - Detection: the share of objects that are found (right class, IoU of 0.5
      or more) among the highest scores of an image, as many as it has
      objects. 0 by chance.
    - Segmentation: the accuracy over the pixels of each class, averaged over
      the classes. 1 / classes by chance, for constant predictions too.
    - Classification: top-1 accuracy. 1 / classes by chance.

    Args:
        samples: Data samples with predictions and ground truth, boxes in the
            same frame.
        num_classes: Of the task.

    Returns:
        The measure over all ranks; ``None`` where there is nothing to
        compare, or but one class to choose from.

    Raises:
        ConfigError: Label maps and predictions differ in size.
    """
    counts = _Counts(num_classes)
    measure = ''
    for sample in samples:
        if 'gt_instances' in sample and 'pred_instances' in sample:
            measure = 'share of objects found'
            counts.add(*_found_objects(sample))
        elif 'gt_sem_seg' in sample and 'pred_sem_seg' in sample:
            measure = 'mean accuracy of the classes'
            truth = sample.gt_sem_seg.data.flatten()
            guess = sample.pred_sem_seg.data.flatten().to(truth)
            if len(truth) != len(guess):
                raise ConfigError(
                    'label maps are not of the size of the predictions, '
                    'which is that of the file',
                    where='val_dataloader.dataset.pipeline',
                    got=f'{tuple(sample.gt_sem_seg.shape)} for '
                    f'{tuple(sample.pred_sem_seg.shape)}',
                    fix='put LoadAnnotations after Resize, as in '
                    "mmsegmentation's own configs",
                )
            valid = (truth >= 0) & (truth < num_classes)
            counts.add(truth[valid], (guess == truth)[valid])
        elif 'gt_label' in sample and 'pred_label' in sample:
            measure = 'top-1 accuracy'
            truth = sample.gt_label.flatten()
            right = sample.pred_label.to(truth).flatten() == truth
            # One class for all: images count alike.
            counts.add(torch.zeros_like(truth), right)
        counts.images += 1
    total, right, images = counts.reduced()
    detection = measure == 'share of objects found'
    if not bool(total.any()) or not (detection or num_classes > 1):
        return None
    if measure == 'mean accuracy of the classes':
        value = (right / total)[total > 0].mean()
    else:
        value = right.sum() / total.sum()
    return TeacherQuality(
        measure=measure,
        value=float(value),
        chance=0.0 if detection else 1.0 / num_classes,
        images=images,
    )


class _Counts:
    """Count what is right, by class."""

    def __init__(self, num_classes: int) -> None:
        self.total = torch.zeros(max(num_classes, 1), dtype=torch.float64)
        self.right = self.total.clone()
        self.images = 0

    def add(self, classes: Tensor, right: Tensor) -> None:
        """Count (n,) classes, and which of them were right."""
        classes = classes.cpu().long()
        size = len(self.total)
        self.total += torch.bincount(classes, minlength=size)
        weights = right.cpu().double()
        self.right += torch.bincount(classes, weights, minlength=size)

    def reduced(self) -> tuple[Tensor, Tensor, int]:
        """Return totals, rights and images over all ranks."""
        flat = torch.cat(
            [self.total, self.right, self.total.new_tensor([self.images])]
        )
        all_reduce(flat)
        size = len(self.total)
        return flat[:size], flat[size : 2 * size], int(flat[-1])


def _found_objects(sample: Any) -> tuple[Tensor, Tensor]:
    """Return the classes of an image's objects and which were found."""
    from mmdet.structures.bbox import bbox_overlaps, get_box_tensor

    truth, guess = sample.gt_instances, sample.pred_instances
    best = guess.scores.argsort(descending=True)[: len(truth)]
    overlaps = bbox_overlaps(
        get_box_tensor(truth.bboxes).float().cpu(),
        get_box_tensor(guess.bboxes)[best].float().cpu(),
    )
    alike = truth.labels.cpu()[:, None] == guess.labels[best].cpu()[None]
    found = ((overlaps >= _IOU) & alike).any(dim=1)
    # One class for all: objects count alike.
    return torch.zeros_like(truth.labels), found
