"""Say where things land: pure functions on matrices, boxes and masks."""

from mmtst.geometry.affine import (
    Aspect,
    anchor_corner,
    apply_to_points,
    compose,
    from_normalized,
    identity_matrix,
    invert,
    to_normalized,
)
from mmtst.geometry.boxes import keep_boxes, warp_boxes
from mmtst.geometry.masks import warp_bitmaps, warp_label_map, warp_polygons
from mmtst.geometry.warp import (
    mask_of_padded,
    source_points,
    valid_mask,
    warp_images,
)

__all__ = [
    'Aspect',
    'anchor_corner',
    'apply_to_points',
    'compose',
    'from_normalized',
    'identity_matrix',
    'invert',
    'keep_boxes',
    'mask_of_padded',
    'source_points',
    'to_normalized',
    'valid_mask',
    'warp_bitmaps',
    'warp_boxes',
    'warp_images',
    'warp_label_map',
    'warp_polygons',
]
