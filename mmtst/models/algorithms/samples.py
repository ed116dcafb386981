"""Read from data samples what an augmentation needs to know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor


def valid_sizes(inputs: Tensor, samples: Sequence[Any]) -> Tensor:
    """Return the valid (height, width) of each image.

    Args:
        inputs: (B, C, H, W), padded at the right and at the bottom.
        samples: The B samples; without ``img_shape`` all is valid.

    Returns:
        (B, 2), in pixels.
    """
    whole = inputs.shape[-2:]
    sizes = [tuple(s.metainfo.get('img_shape', whole)) for s in samples]
    return inputs.new_tensor([size[:2] for size in sizes])


def gt_boxes(sample: Any) -> Any:
    """Return the ground-truth boxes as they are, ``None`` without any."""
    instances = getattr(sample, 'gt_instances', None)
    return None if instances is None else instances.get('bboxes')


def box_tensors(inputs: Tensor, samples: Sequence[Any]) -> list[Tensor]:
    """Return the corners of each image's objects, (N_i, 4); none: (0, 4)."""
    found = [gt_boxes(sample) for sample in samples]
    empty = inputs.new_zeros((0, 4))
    return [empty if b is None else getattr(b, 'tensor', b) for b in found]


def with_objects(
    inputs: Tensor, samples: Sequence[Any]
) -> tuple[Tensor, list[Any]]:
    """Keep images that have an object, or labels of another kind.

    Args:
        inputs: (B, C, H, W).
        samples: The B samples.

    Returns:
        (B', C, H, W) and B' samples.
    """
    keep = [
        i
        for i, sample in enumerate(samples)
        if gt_boxes(sample) is None or len(gt_boxes(sample)) > 0
    ]
    if len(keep) == len(samples):
        return inputs, list(samples)
    return inputs[keep], [samples[i] for i in keep]
