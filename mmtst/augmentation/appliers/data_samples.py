"""Carry a record over to the data samples of a batch."""

from __future__ import annotations

import copy
import numbers
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.structures import BaseDataElement, PixelData
from mmpretrain.structures import DataSample
from torch import Tensor

from mmtst.augmentation.appliers.instances import warp_instances
from mmtst.augmentation.base import AugmentRecord
from mmtst.geometry import apply_to_points, warp_label_map
from mmtst.structures import LabelBatch, num_images
from mmtst.utils.errors import ConfigError

_UNSUPPORTED = ('gt_edge_map', 'gt_depth_map', 'gt_panoptic_seg')
# In pixels: what a gate that is all but closed moves, and no eye sees.
_STILL = 1e-3


def apply_to_samples(
    record: AugmentRecord,
    data_samples: Sequence[BaseDataElement],
    *,
    min_side: float = 1.0,
    min_visible: float = 0.1,
    ignore_index: int = 255,
) -> list[BaseDataElement]:
    """Move the ground truth of a batch as the record moved its images.

    Warped are ``gt_instances``, ``ignored_instances``, ``proposals``
    (boxes, masks, and every other field in step) and ``gt_sem_seg``; class
    labels and scores of images, and metainfo, stay as they are. An image
    that the record does not move (by a thousandth of a pixel anywhere) keeps
    its ground truth exactly, boxes of any size included.

    Args:
        record: Of the B images. Its gradient stops here.
        data_samples: B samples of mmdet, mmseg or mmpretrain, whose boxes,
            masks and maps are in the frame of the images, or
            ``LabelBatch``es of B images. Not edited, and nothing of what is
            returned shares memory with them.
        min_side: Least width and least height in pixels of a box that is
            kept.
        min_visible: Least fraction in view of an object that is kept.
            Ignored regions and proposals are kept while anything is in view:
            without its ignored region an object would count as background.
        ignore_index: Label of what comes from outside the valid region,
            where the label map does not name its own.

    Returns:
        list[BaseDataElement]: New samples, on the devices of the old. An
        image may be left without objects.

    Raises:
        ValueError: If there are not B samples, or a map or mask is smaller
            than its image's valid region.
        ConfigError: If a sample has ground truth that cannot be warped.
    """
    images = sum(map(num_images, data_samples))
    if len(record) != images:
        raise ValueError(
            f'the record is of {len(record)} images, but there are '
            f'{images} data samples'
        )
    if all(_is_of_whole_images(sample) for sample in data_samples):
        return [copy.deepcopy(sample) for sample in data_samples]
    # Masks and most ground truth work lie on the CPU: one transfer for all.
    matrices = record.matrix.detach().cpu()
    sizes = record.sizes.detach().cpu()
    still = _displacement(matrices, sizes) < _STILL
    moved = []
    for i, sample in enumerate(data_samples):
        for name in _UNSUPPORTED:
            if name in sample:
                raise ConfigError(
                    'this ground truth cannot be warped with the image',
                    where=f'data_samples.{name}',
                    fix='leave it out of the training pipeline, or use a '
                    'student that is trained without it',
                )
        fields = {}
        for name, value in sample.items():
            if bool(still[i]):
                fields[name] = copy.deepcopy(value)
            elif name in ('gt_instances', 'ignored_instances', 'proposals'):
                fields[name] = warp_instances(
                    value,
                    matrices[i],
                    sizes[i],
                    min_side=min_side,
                    min_visible=min_visible if name == 'gt_instances' else 0,
                    name=name,
                )
            elif name == 'gt_sem_seg':
                fields[name] = _warp_pixel_data(
                    value, matrices[i], sizes[i], ignore_index
                )
            else:
                fields[name] = copy.deepcopy(value)
        moved.append(_with_fields(sample, fields))
    return moved


def _is_of_whole_images(sample: BaseDataElement) -> bool:
    """Tell whether nothing of a sample lies anywhere in its image."""
    return type(sample) in (DataSample, LabelBatch) and all(
        isinstance(value, (Tensor, numbers.Number, str))
        for value in sample.values()
    )


def _displacement(matrices: Tensor, sizes: Tensor) -> Tensor:
    """Return how far the farthest corner of each image moves, (B,), px."""
    unit = torch.tensor([[0.0, 0], [1, 0], [0, 1], [1, 1]]).to(sizes)
    corners = unit * sizes.flip(-1)[:, None]
    return (apply_to_points(matrices, corners) - corners).abs().amax((1, 2))


def _warp_pixel_data(
    maps: PixelData, matrix: Tensor, size: Tensor, ignore_index: int
) -> PixelData:
    """Warp every label map of one image."""
    fill = int(maps.metainfo.get('ignore_index', ignore_index))
    fields = {
        name: warp_label_map(torch.as_tensor(value), matrix, size, fill)
        for name, value in maps.items()
    }
    result: PixelData = _with_fields(maps, fields)
    return result


def _with_fields(element: Any, fields: dict[str, Any]) -> Any:
    """Return a new element of the same type and metainfo."""
    result = type(element)(metainfo=element.metainfo)
    result.set_data(fields)
    return result
