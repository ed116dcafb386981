"""Read from data samples what an augmentation needs to know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmtst.structures import num_images


def valid_sizes(inputs: Tensor, samples: Sequence[Any]) -> Tensor:
    """Return the valid (height, width) of each image.

    Args:
        inputs: (B, C, H, W), padded at the right and at the bottom.
        samples: The B samples, or ``LabelBatch``es of B images; without
            ``img_shape`` all is valid.

    Returns:
        (B, 2), in pixels.
    """
    whole = tuple(inputs.shape[-2:])
    sizes = [
        tuple(sample.metainfo.get('img_shape', whole))[:2]
        for sample in samples
        for _ in range(num_images(sample))
    ]
    if all(size == whole for size in sizes):
        # Without a copy from the host, for which a GPU would be waited for.
        height, width = (inputs.new_full((len(sizes), 1), n) for n in whole)
        return torch.cat([height, width], dim=1)
    return inputs.new_tensor(sizes)


def gt_boxes(sample: Any) -> Any:
    """Return the ground-truth boxes as they are, ``None`` without any."""
    instances = getattr(sample, 'gt_instances', None)
    return None if instances is None else instances.get('bboxes')


def box_tensors(sizes: Tensor, samples: Sequence[Any]) -> list[Tensor]:
    """Return the corners of what is to be kept in view in each image.

    Its objects; of an image with a label map and no boxes, all that is valid
    of it, as one.

    Args:
        sizes: (B, 2), of :func:`valid_sizes`; their device and dtype are
            those of what is returned where there are no boxes.
        samples: The B samples, or ``LabelBatch``es of B images.

    Returns:
        B tensors (N_i, 4), (x1, y1, x2, y2) in pixels; none: (0, 4).
    """
    boxes = []
    each = [s for s in samples for _ in range(num_images(s))]
    for sample, size in zip(each, sizes, strict=True):
        found = gt_boxes(sample)
        if found is not None:
            boxes.append(getattr(found, 'tensor', found))
        elif 'gt_sem_seg' in sample:
            boxes.append(torch.cat([size.new_zeros(2), size.flip(0)])[None])
        else:
            boxes.append(sizes.new_zeros((0, 4)))
    return boxes


def with_objects(
    inputs: Tensor, samples: Sequence[Any], ignored: int = 255
) -> tuple[Tensor, list[Any]]:
    """Keep images from which there is something to learn.

    Those with a box; those with a label map of which a pixel counts; those
    with labels of another kind.

    Args:
        inputs: (B, C, H, W).
        samples: The B samples.
        ignored: The label of pixels that do not count.

    Returns:
        (B', C, H, W) and B' samples.
    """
    keep = [
        i for i, sample in enumerate(samples) if _has_objects(sample, ignored)
    ]
    if len(keep) == len(samples):
        return inputs, list(samples)
    return inputs[keep], [samples[i] for i in keep]


def _has_objects(sample: Any, ignored: int) -> bool:
    boxes = gt_boxes(sample)
    if boxes is not None:
        return len(boxes) > 0
    if 'gt_sem_seg' in sample:
        return bool((sample.gt_sem_seg.data != ignored).any())
    return True
