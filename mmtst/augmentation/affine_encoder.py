"""Turn a magnitude into the matrix of an affine operator.

An affine meta-encoder (the paper's f_STN) is fitted in Stage I and frozen:
what it learned lies in buffers, which no optimizer sees.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mmtst.augmentation.manual_operators import MAX_ANGLE

NOISE_WIDTH = 10
"""Most inputs of any meta-encoder that noise may be added to."""


class AffineEncoder(nn.Module):
    """Map magnitudes (B,) to matrices (B, 2, 3); see the subclasses."""

    def forward(
        self, magnitudes: Tensor, noise: Tensor | None = None
    ) -> Tensor:
        """Return the matrices of one operator.

        Args:
            magnitudes: (B,), in [-1, 1].
            noise: (B, K), added to the inputs of the network; none if
                ``None``.

        Returns:
            (B, 2, 3), output -> input, normalized coordinates.
        """
        raise NotImplementedError


class BasisAffineEncoder(AffineEncoder):
    """Be linear in [m] or, for Rotate, in [m, sin wm, cos wm - 1].

    A(m) = I + C phi(m), so that A(0) is the identity; w is the largest
    angle. Noise is added to m.

    Args:
        operator: Its name.
    """

    coefficients: Tensor

    def __init__(self, operator: str) -> None:
        super().__init__()
        self.turns = operator == 'Rotate'
        features = 3 if self.turns else 1
        self.register_buffer('coefficients', torch.zeros(6, features))

    def basis(self, magnitudes: Tensor) -> Tensor:
        """Return phi(m), shape (B, 1) or (B, 3)."""
        if not self.turns:
            return magnitudes.unsqueeze(1)
        angle = math.radians(MAX_ANGLE) * magnitudes
        return torch.stack([magnitudes, angle.sin(), angle.cos() - 1], 1)

    def forward(
        self, magnitudes: Tensor, noise: Tensor | None = None
    ) -> Tensor:
        """Return I + C phi(m), (B, 2, 3)."""
        if noise is not None:
            magnitudes = magnitudes + noise[:, 0]
        coefficients = self.coefficients.to(magnitudes)
        change = self.basis(magnitudes) @ coefficients.T
        return _identity(magnitudes) + change.view(-1, 2, 3)


class ConcatAffineEncoder(AffineEncoder):
    """Be the paper's: A = reshape(FC([theta_E, m])), theta_E of length 6.

    Noise is added to all seven inputs, m included.
    """

    feature: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer('feature', torch.zeros(6))
        self.register_buffer('weight', torch.zeros(6, 7))
        self.register_buffer('bias', torch.eye(2, 3).flatten())

    def forward(
        self, magnitudes: Tensor, noise: Tensor | None = None
    ) -> Tensor:
        """Return reshape(W [theta_E, m] + c), (B, 2, 3)."""
        feature = self.feature.to(magnitudes).expand(len(magnitudes), 6)
        inputs = torch.cat([feature, magnitudes.unsqueeze(1)], dim=1)
        if noise is not None:
            inputs = inputs + noise[:, :7]
        weight, bias = self.weight.to(inputs), self.bias.to(inputs)
        return (inputs @ weight.T + bias).view(-1, 2, 3)


def _identity(like: Tensor) -> Tensor:
    return torch.eye(2, 3, dtype=like.dtype, device=like.device)
