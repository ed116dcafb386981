"""Convolve each image of a batch with a kernel of its own."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mmtst.augmentation.color_encoder import KERNEL

_PADDING = KERNEL // 2
# Pixels up to which a grouped convolution is the faster.
_SMALL = 128 * 128
_LAST = torch.channels_last


def convolve(
    images: Tensor, sizes: Tensor, valid: Tensor | None, kernels: Tensor
) -> Tensor:
    """Apply one kernel to each image and to ones where the image is.

    Args:
        images: (B, 3, H, W). What lies beyond their valid regions counts as
            zeros.
        sizes: (B, 2), (height, width) of the valid regions in pixels.
        valid: (B, 1, H, W), their mask; ``None`` where all is valid.
        kernels: (B, 3, 4, 5, 5), for three channels and the ones.

    Returns:
        (B, 3, H, W); without meaning beyond the valid regions.
    """
    if images.device.type == 'cpu':
        return _on_cpu(images, sizes, valid, in_blocks(kernels))
    count, _, height, width = images.shape
    if valid is None:
        inputs = F.pad(images, (0, 0, 0, 0, 0, 1), value=1.0)
    else:
        mask = valid.to(images.dtype)
        inputs = torch.cat([images * mask, mask], dim=1)
    output = F.conv2d(
        inputs.reshape(1, 4 * count, height, width),
        kernels.reshape(3 * count, 4, KERNEL, KERNEL),
        padding=_PADDING,
        groups=count,
    )
    return output.view(count, 3, height, width)


def _on_cpu(
    images: Tensor, sizes: Tensor, valid: Tensor | None, kernels: Tensor
) -> Tensor:
    """Convolve large images one by one, which on a CPU is faster by half."""
    height, width = images.shape[-2:]
    if valid is None and height * width <= _SMALL:
        return _blockwise(images, kernels)
    outputs = []
    for i, size in enumerate(sizes.tolist()):
        # As many rows and columns as have their center within.
        h, w = (max(1, math.ceil(side - 0.5)) for side in size)
        pixels = _blockwise(images[i : i + 1, :, :h, :w], kernels[i : i + 1])
        if valid is not None:
            pixels = F.pad(pixels, (0, width - w, 0, height - h))
        outputs.append(pixels)
    return torch.cat(outputs)


def _blockwise(images: Tensor, kernels: Tensor) -> Tensor:
    """Convolve whole images (B, 3, H, W) with kernels on blocks.

    Three channels leave most lanes of a vector unit idle. So four neighboring
    pixels become twelve channels: what a kernel of 5 x 5 is to pixels, one of
    3 x 3 is to blocks of 2 x 2.
    """
    count, _, h, w = images.shape
    padded = F.pad(images, (0, w % 2, 0, h % 2, 0, 1))
    padded[:, 3, :h, :w] = 1.0
    blocks = _to_blocks(padded.contiguous(memory_format=_LAST))
    if count > 1:
        blocks = blocks.reshape(1, -1, *blocks.shape[2:])
    output = F.conv2d(
        blocks,
        kernels.flatten(0, 1),
        padding=1,
        groups=count,
    )
    if count > 1:
        output = output.view(count, -1, *output.shape[2:])
    return _from_blocks(output)[..., :h, :w].contiguous()


def in_blocks(kernels: Tensor) -> Tensor:
    """Turn kernels on pixels into the same ones on blocks of 2 x 2.

    Args:
        kernels: (B, O, I, 5, 5).

    Returns:
        (B, 4 O, 4 I, 3, 3); channels are ordered row, column, channel.
    """
    # [place in the block of the output, block, place in it of the input]:
    # which tap that is, -1 and 5 for none.
    place = torch.arange(2, device=kernels.device)
    block = torch.arange(3, device=kernels.device)
    tap = 2 * block[:, None] + place - place[:, None, None]
    padded = F.pad(kernels, (0, 1, 0, 1))
    taps = padded[..., tap, :][..., tap]
    # B, O, I, out row, block row, in row, out column, block column, in column
    taps = taps.permute(0, 3, 6, 1, 5, 8, 2, 4, 7)
    count, outputs, inputs = kernels.shape[:3]
    return taps.reshape(count, 4 * outputs, 4 * inputs, 3, 3)


def _to_blocks(images: Tensor) -> Tensor:
    """Turn (B, C, H, W) into (B, 4 C, H / 2, W / 2), both channels last."""
    count, channels, height, width = images.shape
    rows = images.permute(0, 2, 3, 1).reshape(
        count, height // 2, 2, width // 2, 2 * channels
    )
    blocks = rows.transpose(2, 3).reshape(
        count, height // 2, width // 2, 4 * channels
    )
    return blocks.permute(0, 3, 1, 2)


def _from_blocks(blocks: Tensor) -> Tensor:
    """Turn (B, 4 C, H, W) into (B, C, 2 H, 2 W)."""
    count, channels, height, width = blocks.shape
    rows = blocks.permute(0, 2, 3, 1).reshape(
        count, height, width, 2, channels // 2
    )
    pixels = rows.transpose(2, 3).reshape(
        count, 2 * height, 2 * width, channels // 4
    )
    return pixels.permute(0, 3, 1, 2)
