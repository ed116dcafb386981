"""Warp the instances of one image: boxes, masks and what goes with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmdet.structures.bbox import BaseBoxes, HorizontalBoxes
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.structures import InstanceData
from torch import Tensor

from mmtst.geometry import (
    keep_boxes,
    warp_bitmaps,
    warp_boxes,
    warp_polygons,
)
from mmtst.utils.errors import ConfigError

_UNSUPPORTED = ('keypoints', 'keypoints_visible')


def warp_instances(
    instances: InstanceData,
    matrix: Tensor,
    size: Tensor,
    *,
    min_side: float = 1.0,
    min_visible: float = 0.1,
    name: str = 'gt_instances',
) -> InstanceData:
    """Warp instances; drop those out of view, every field in step.

    Dropped are those whose box is too small or too little in view, and those
    of whose mask nothing is left.

    Args:
        instances: With ``bboxes`` (N, 4), a tensor or ``HorizontalBoxes``,
            in pixels; ``masks`` (``BitmapMasks``, ``PolygonMasks`` or a
            tensor (N, H, W)) if there are any. All other fields are taken
            along as they are. Not edited.
        matrix: (2, 3), source -> destination, pixels.
        size: (2,), (height, width) of the valid region in pixels.
        min_side: Least width and least height of a box in pixels.
        min_visible: Least fraction of a box in view.
        name: What to call the instances in an error.

    Returns:
        InstanceData: New instances, with the metainfo of the old.

    Raises:
        ConfigError: If a field is of a kind that cannot be warped.
    """
    cls, metainfo = type(instances), instances.metainfo
    if len(instances.keys()) == 0:
        return cls(metainfo=metainfo)
    boxes = _boxes_of(instances, name)
    moved, visible = warp_boxes(
        boxes, matrix.to(boxes.device), size.to(boxes.device)
    )
    keep = keep_boxes(moved, visible, min_side, min_visible)
    fields: dict[str, Any] = {}
    if 'masks' in instances:
        indices = keep.nonzero().flatten().cpu()
        masks, left = warp_masks(
            instances.masks, indices, matrix, size, name=name
        )
        keep = torch.zeros_like(keep)
        keep[indices[left].to(keep.device)] = True
        fields['masks'] = masks
    if isinstance(instances.bboxes, BaseBoxes):
        fields['bboxes'] = HorizontalBoxes(moved[keep], clone=False)
    else:
        fields['bboxes'] = moved[keep]

    others = instances.new()
    for field in fields:
        others.pop(field)
    result = cls(metainfo=metainfo)
    if len(others.keys()) > 0:
        result = others[keep]
    result.set_data(fields)
    return result


def warp_masks(
    masks: BitmapMasks | PolygonMasks | Tensor,
    indices: Tensor,
    matrix: Tensor,
    size: Tensor,
    *,
    name: str = 'gt_instances',
) -> tuple[BitmapMasks | PolygonMasks | Tensor, Tensor]:
    """Warp some of an image's instance masks.

    Args:
        masks: Of N instances; the canvas may be the image's valid region or
            its padded size, and stays. Not edited.
        indices: (M,), int64 on the CPU, the instances wanted.
        matrix: (2, 3), source -> destination, pixels.
        size: (2,), (height, width) of the valid region in pixels.
        name: What to call the instances in an error.

    Returns:
        tuple: The warped masks of those instances that still have one, of
        the kind and dtype of ``masks``; and which of the ``indices`` those
        are, (M,), bool on the CPU.

    Raises:
        ConfigError: If the masks are of another kind.
    """
    if isinstance(masks, Tensor):
        warped = warp_bitmaps(masks[indices.to(masks.device)], matrix, size)
        left = warped.flatten(1).ne(0).any(1)
        return warped[left], left.cpu()
    if isinstance(masks, BitmapMasks):
        chosen = torch.from_numpy(masks.masks[indices.numpy()])
        warped = warp_bitmaps(chosen, matrix, size)
        left = warped.flatten(1).ne(0).any(1)
        array = warped[left].numpy()
        return BitmapMasks(array, masks.height, masks.width), left
    if isinstance(masks, PolygonMasks):
        objects = [masks.masks[i] for i in indices.tolist()]
        polygons = warp_polygons(objects, matrix, size)
        left = torch.tensor([len(p) > 0 for p in polygons], dtype=torch.bool)
        kept = [p for p in polygons if p]
        return PolygonMasks(kept, masks.height, masks.width), left
    raise ConfigError(
        'instance masks of this kind cannot be warped',
        where=f'data_samples.{name}.masks',
        got=type(masks).__name__,
        allowed='BitmapMasks, PolygonMasks or a tensor (N, H, W)',
    )


def _boxes_of(instances: InstanceData, name: str) -> Tensor:
    """Return the boxes as a tensor (N, 4), or say why not."""
    where = f'data_samples.{name}'
    for field in _UNSUPPORTED:
        if field in instances:
            raise ConfigError(
                'an instance field cannot be warped with the image',
                where=f'{where}.{field}',
                fix='leave it out of the training pipeline',
            )
    boxes = instances.get('bboxes')
    if isinstance(boxes, HorizontalBoxes):
        boxes = boxes.tensor
    if isinstance(boxes, np.ndarray):
        boxes = torch.from_numpy(boxes)
    if not isinstance(boxes, Tensor) or boxes.shape[1:] != (4,):
        got = None if boxes is None else type(boxes).__name__
        raise ConfigError(
            'instances need boxes to be warped',
            where=f'{where}.bboxes',
            got='no boxes' if got is None else got,
            allowed='HorizontalBoxes or a tensor (N, 4) of corners',
            fix='load annotations with with_bbox=True',
        )
    return boxes
