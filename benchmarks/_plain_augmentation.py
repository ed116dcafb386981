"""Augment as the equations are written, one operator after the other.

What ``AugmentationEncoder.augment`` is compared with: the same operators,
each computed on the images that chose it, their gated differences added up
(Eq. 5, and for matrices Eq. 8 of TST). Nothing is folded.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mmtst.augmentation import (
    AFFINE_OPERATORS,
    MAGNITUDE_OPERATORS,
    OPERATORS,
    AugmentationEncoder,
    AugmentRecord,
)
from mmtst.augmentation.fixed_ops import cutout, equalize
from mmtst.geometry import valid_mask, warp_images


def augment_plainly(
    encoder: AugmentationEncoder,
    images: Tensor,
    record: AugmentRecord,
    only_open: bool = False,
) -> Tensor:
    """Return what ``encoder.augment(images, record)`` does.

    Args:
        encoder: Bound to a preprocessor, its colours after the warp.
        images: (B, 3, H, W), the network's input, float32.
        record: Of the same images.
        only_open: Leave out the operators that an image has chosen but whose
            gates are shut; the equations multiply them by next to nothing.
    """
    chosen = record.gates.detach() > 0 if only_open else record.draw.selected
    space = encoder.image_space
    fill = space.fill_network(encoder.fill, images)
    gates = record.gates
    if encoder.composition == 'image_sum':
        result = images
        for i in range(len(AFFINE_OPERATORS)):
            rows = chosen[:, i].nonzero().squeeze(1)
            if len(rows):
                source = images[rows]
                matrices = record.image_matrices[rows, i]
                warped = warp_images(
                    source, matrices, record.sizes[rows], fill
                )
                weight = gates[rows, i].view(-1, 1, 1, 1)
                result = result.index_add(0, rows, weight * (warped - source))
        source = images
    else:
        result = warp_images(images, record.matrix, record.sizes, fill)
        source = result
    raw = space.to_raw(source)
    valid = valid_mask(record.sizes, *images.shape[-2:]).unsqueeze(1)
    for i in range(len(AFFINE_OPERATORS), len(OPERATORS)):
        rows = chosen[:, i].nonzero().squeeze(1)
        if len(rows):
            before = raw[rows]
            after = _color(encoder, i, before, valid[rows], record, rows)
            weight = gates[rows, i].view(-1, 1, 1, 1)
            added = torch.where(valid[rows], weight * (after - before), 0.0)
            added = space.delta_to_network(added)
            result = result.index_add(0, rows, added)
    return result


def _color(
    encoder: AugmentationEncoder,
    operator: int,
    raw: Tensor,
    valid: Tensor,
    record: AugmentRecord,
    rows: Tensor,
) -> Tensor:
    """Return f_i of raw images (b, 3, H, W)."""
    name = OPERATORS[operator]
    if name == 'Invert':
        return 1 - raw
    if name == 'Equalize':
        return equalize(raw, record.sizes[rows])
    if name == 'Cutout':
        center = record.draw.cutout_center[rows]
        fill = encoder.image_space.fill_raw('mean', raw)
        sizes = record.sizes[rows]
        return cutout(raw, center, sizes, encoder.cutout_fraction, fill)
    own = MAGNITUDE_OPERATORS.index(name)
    kernels = encoder.meta_encoders[name](
        record.magnitudes[rows, own], None, record.apply_gates[rows, own]
    )
    mask = valid.to(raw.dtype)
    inputs = torch.cat([(raw - 0.5) * mask, mask], dim=1)
    change = [
        F.conv2d(inputs[i : i + 1], kernels[i], padding=kernels.shape[-1] // 2)
        for i in range(len(raw))
    ]
    return raw + torch.cat(change)
