"""Measure color encoders over a set of images without the images.

A color encoder is one convolution at any magnitude, so that its squared
error over a set of images (Eq. 3) is a quadratic form of the kernel: it is
computed exactly from second moments of the 5 x 5 patches, gathered once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmtst.augmentation.color_encoder import KERNEL
from mmtst.augmentation.manual_operators import apply_manual

TAPS = 4 * KERNEL**2
"""Patch features: 3 channels of x - 1/2 and the valid mask."""
ONE = 3 * KERNEL**2 + KERNEL**2 // 2
"""The feature that is 1 at every pixel: the mask's center tap."""
_CHUNK = 16


@dataclass(frozen=True)
class Moments:
    """Hold what the squared error of a color operator depends on.

    n counts pixels, z are their patch features (100), d the target's
    difference f(x) - x (3 channels), at each of M magnitudes.

    Attributes:
        magnitudes: (M,).
        patches: (100, 100), sum z z^T / n.
        cross: (M, 3, 100), sum d z^T / n.
        identity: (M,), identity's mean squared error.
    """

    magnitudes: Tensor
    patches: Tensor
    cross: Tensor
    identity: Tensor

    def error(self, kernels: Tensor) -> Tensor:
        """Return the mean squared error of kernels, one a magnitude.

        Args:
            kernels: (M, 3, 4, 5, 5), of f(x) - x.

        Returns:
            (M,).
        """
        flat = kernels.flatten(2)
        fit = (flat * self.cross).sum(dim=(1, 2))
        return self.identity + (self.power(kernels) * 3 - 2 * fit) / 3

    def power(self, kernels: Tensor) -> Tensor:
        """Return the mean square of what kernels (M, 3, 4, 5, 5) give."""
        flat = kernels.flatten(2)
        return (flat @ self.patches * flat).sum(dim=(1, 2)) / 3


def gather_moments(
    targets: Sequence[tuple[str, Tensor]], images: Tensor, binned: bool = False
) -> list[Moments]:
    """Gather the moments of color operators over a set of images.

    Args:
        targets: Pairs of one of ``COLOR_OPERATORS`` and magnitudes (M,).
        images: (N, 3, H, W), raw RGB in [0, 1].
        binned: Whether targets round the magnitude to ten bins.

    Returns:
        The moments of each pair, float64; summed in float32 over a few
        images at a time.
    """
    flat = [(name, float(m)) for name, grid in targets for m in grid]
    patches = torch.zeros(TAPS, TAPS, dtype=torch.float64)
    cross = torch.zeros(3 * len(flat), TAPS, dtype=torch.float64)
    identity = torch.zeros(len(flat), dtype=torch.float64)
    for start in range(0, len(images), _CHUNK):
        chunk = images[start : start + _CHUNK].float()
        inputs = torch.cat([chunk - 0.5, torch.ones_like(chunk[:, :1])], dim=1)
        # (100, n)
        z = nn.functional.unfold(inputs, KERNEL, padding=KERNEL // 2)
        z = z.transpose(0, 1).flatten(1)
        differences = torch.stack(
            [apply_manual(name, chunk, m, binned) - chunk for name, m in flat]
        )
        d = differences.transpose(1, 2).flatten(2)
        patches += z @ z.T
        cross += d.flatten(0, 1) @ z.T
        identity += d.square().sum(dim=2).sum(dim=1) / 3
    count = images.numel() // 3
    cross = cross.view(len(flat), 3, TAPS) / count
    moments, start = [], 0
    for _, grid in targets:
        own = slice(start, start + len(grid))
        moments.append(
            Moments(
                grid.double(),
                patches / count,
                cross[own],
                identity[own] / count,
            )
        )
        start += len(grid)
    return moments


def merge_moments(parts: Sequence[Moments]) -> Moments:
    """Join moments over the same images at different magnitudes."""
    return Moments(
        torch.cat([part.magnitudes for part in parts]),
        parts[0].patches,
        torch.cat([part.cross for part in parts]),
        torch.cat([part.identity for part in parts]),
    )
