"""Leave out of a teacher what the student's data cannot train or judge."""

from __future__ import annotations

from typing import Any

from torch import nn

from mmtst.utils.errors import ConfigError

# What a RoI head has for masks alone, by attribute.
_MASK_PARTS = (
    'mask_head',
    'mask_roi_extractor',
    'mask_iou_head',  # Mask Scoring R-CNN
    'point_head',  # PointRend
)
_SEMANTIC_PARTS = ('semantic_head', 'semantic_roi_extractor')


def leave_out_masks(teacher: nn.Module, student: nn.Module) -> list[str]:
    """Drop a two-stage teacher's mask branch if its student has none.

    The teacher's own losses are part of Stage II; those of its mask head
    would ask for masks, which a box-only pipeline does not load. To be called
    once the teacher's checkpoint is loaded, which has the mask head.

    Args:
        teacher: Changed in place: its box predictions are the same after.
        student: Its mask head, if any, says that there are masks.

    Returns:
        Names of the modules left out.

    Raises:
        ConfigError: The teacher's boxes are read from semantic features,
            whose head would ask for segmentation maps.
    """
    roi_head: Any = getattr(teacher, 'roi_head', None)
    if roi_head is None or _has_masks(student):
        return []
    dropped = []
    semantic = getattr(roi_head, 'semantic_head', None) is not None
    if semantic:
        fused = getattr(roi_head, 'semantic_fusion', ('bbox', 'mask'))
        if 'bbox' in fused:
            raise ConfigError(
                "the teacher's boxes are read from semantic features too; "
                'its semantic head asks for segmentation maps, and cannot be '
                'left out',
                where='model.teacher.roi_head.semantic_head',
                got=type(roi_head).__name__,
                allowed='a RoI head without it',
                fix='take a teacher without a semantic head, such as '
                'htc-without-semantic_r50_fpn_1x_coco.py',
            )
    for name in (*_MASK_PARTS, *(_SEMANTIC_PARTS if semantic else ())):
        part = roi_head._modules.get(name)
        if part is not None:
            # The box extractor may be the mask extractor as well: its own
            # name still holds it.
            delattr(roi_head, name)
            dropped.append(f'roi_head.{name}')
    return dropped


def _has_masks(model: nn.Module) -> bool:
    return any(
        getattr(owner, 'mask_head', None) is not None
        for owner in (model, getattr(model, 'roi_head', None))
    )
