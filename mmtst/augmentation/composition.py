"""Put the operators of a record together on a batch of images."""

from __future__ import annotations

import torch
from torch import Tensor

from mmtst.augmentation.base import AFFINE_OPERATORS, OPERATORS, AugmentRecord
from mmtst.augmentation.convolution import convolve
from mmtst.augmentation.fixed_ops import cutout, equalize, invert_kernel
from mmtst.augmentation.image_space import ImageSpace
from mmtst.geometry import mask_of_padded, warp_images

_AFFINE = len(AFFINE_OPERATORS)
_EQUALIZE = OPERATORS.index('Equalize')
_INVERT = OPERATORS.index('Invert')
_CUTOUT = OPERATORS.index('Cutout')


def warp_open(
    images: Tensor, record: AugmentRecord, fill: Tensor | float
) -> Tensor:
    """Warp by the summed matrix the images that have an open affine gate.

    Args:
        images: (B, 3, H, W), float32 at least.
        record: Of the batch.
        fill: A number or (3,), what comes in from outside, in the units of
            the images.

    Returns:
        (B, 3, H, W); the input itself where nothing is open.
    """
    opened = record.gates.detach()[:, :_AFFINE].amax(dim=1)
    rows = (opened * record.draw.shrink > 0).nonzero().squeeze(1)
    if len(rows) == 0:
        return images
    if len(rows) == len(images):
        return warp_images(images, record.matrix, record.sizes, fill)
    warped = warp_images(
        images[rows], record.matrix[rows], record.sizes[rows], fill
    )
    return images.index_copy(0, rows, warped)


def sum_warped_images(
    images: Tensor, record: AugmentRecord, fill: Tensor | float
) -> Tensor:
    """Add b_i (warp_i(x) - x) of each affine operator, Eq. 5.

    Args:
        images: (B, 3, H, W), float32 at least.
        record: Of the batch, resolved for ``image_sum``.
        fill: A number or (3,), what comes in from outside, in the units of
            the images.

    Returns:
        (B, 3, H, W); the input itself where nothing is open.

    Raises:
        ValueError: The record has no matrix for each operator.
    """
    if record.image_matrices is None:
        raise ValueError(
            'the record was resolved for matrix_sum: it has no matrix for '
            'each operator'
        )
    gates = record.gates[:, :_AFFINE]
    opened = gates.detach() * record.draw.shrink.unsqueeze(1)
    rows, columns = (opened > 0).nonzero(as_tuple=True)
    if len(rows) == 0:
        return images
    source = images[rows]
    warped = warp_images(
        source, record.image_matrices[rows, columns], record.sizes[rows], fill
    )
    weight = gates[rows, columns].to(images.dtype).view(-1, 1, 1, 1)
    added = weight * (warped - source)
    for column in range(_AFFINE):
        # One operator at a time: no row twice, so that the order of the
        # sum, and with it the result, is the same at every replay.
        own = columns == column
        images = images.index_add(0, rows[own], added[own])
    return images


def add_color(
    images: Tensor,
    source: Tensor,
    space: ImageSpace,
    kernels: Tensor,
    record: AugmentRecord,
    cutout_fraction: float,
) -> Tensor:
    """Add b_i (f_i(x) - x) of each operator that is not affine.

    The learned ones and Invert are linear at a given magnitude, so that all
    of them together are one convolution for each image.

    Args:
        images: (B, 3, H, W), what is added to, the network's input.
        source: (B, 3, H, W), what the differences are computed on.
        space: Between network input and raw intensities.
        kernels: (B, 3, 4, 5, 5), sum of b_i K_i of the learned operators.
        record: Of the batch.
        cutout_fraction: The side of Cutout's square over sqrt(h w).

    Returns:
        (B, 3, H, W); ``images`` itself where nothing is open.
    """
    dtype = images.dtype
    gates = record.gates[:, _AFFINE:].to(dtype)
    rows = (gates.detach().amax(dim=1) > 0).nonzero().squeeze(1)
    if len(rows) == 0:
        return images
    gates = record.gates[rows].to(dtype)
    sizes = record.sizes[rows]
    if len(rows) < len(images):
        source = source[rows]
    valid = mask_of_padded(sizes, *images.shape[-2:])
    added = _linear_change(source, sizes, valid, space, kernels[rows], gates)
    for column, change in (
        (_EQUALIZE, _equalize_change),
        (_CUTOUT, _cutout_change),
    ):
        own = (gates.detach()[:, column] > 0).nonzero().squeeze(1)
        if len(own) == 0:
            continue
        difference = change(
            space.to_raw(source[own]),
            sizes[own],
            record.draw.cutout_center[rows[own]],
            cutout_fraction,
            space.fill_raw('mean', source),
        )
        weight = gates[own, column].view(-1, 1, 1, 1)
        difference = weight * space.delta_to_network(difference)
        added = added.index_add(0, own, difference)
    if valid is not None:
        added = torch.where(valid, added, 0.0)
    if len(rows) == len(images):
        return images + added
    return images.index_add(0, rows, added)


def _linear_change(
    source: Tensor,
    sizes: Tensor,
    valid: Tensor | None,
    space: ImageSpace,
    kernels: Tensor,
    gates: Tensor,
) -> Tensor:
    """Convolve the images that have an open gate of a linear operator."""
    opened = torch.maximum(
        gates.detach()[:, _AFFINE:_EQUALIZE].amax(dim=1),
        gates.detach()[:, _INVERT],
    )
    own = (opened > 0).nonzero().squeeze(1)
    if len(own) == 0:
        return torch.zeros_like(source)
    weight = gates[:, _INVERT].view(-1, 1, 1, 1, 1)
    kernels = space.fold(kernels.to(gates) + weight * invert_kernel(gates))
    if len(own) == len(source):
        return convolve(source, sizes, valid, kernels)
    changed = convolve(
        source[own],
        sizes[own],
        None if valid is None else valid[own],
        kernels[own],
    )
    return torch.zeros_like(source).index_copy_(0, own, changed)


def _equalize_change(
    raw: Tensor,
    sizes: Tensor,
    center: Tensor,
    fraction: float,
    fill: Tensor,
) -> Tensor:
    return equalize(raw, sizes) - raw


def _cutout_change(
    raw: Tensor,
    sizes: Tensor,
    center: Tensor,
    fraction: float,
    fill: Tensor,
) -> Tensor:
    return cutout(raw, center, sizes, fraction, fill) - raw
