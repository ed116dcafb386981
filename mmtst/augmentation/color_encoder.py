"""Turn a magnitude into the linear map of a color operator.

A color meta-encoder (the paper's f_CN) is fitted in Stage I and frozen: what
it learned lies in buffers, which no optimizer sees. Every network here is,
at a given magnitude, one 5 x 5 convolution, so that an encoder returns a
kernel and kernels of several operators add up to one convolution.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

KERNEL = 5
FEATURES = 10
"""Length of the paper's theta_E,V."""


class ColorEncoder(nn.Module):
    """Map magnitudes (B,) to kernels (B, 3, 4, 5, 5); see the subclasses.

    A kernel acts on four channels, [(x - 1/2) v, v]: x the raw image (RGB in
    [0, 1]) and v 1 on the valid region, 0 on its padding. It gives the
    difference f(x) - x.
    """

    def forward(
        self,
        magnitudes: Tensor,
        noise: Tensor | None = None,
        apply_gates: Tensor | None = None,
    ) -> Tensor:
        """Return the kernels of one operator.

        Args:
            magnitudes: (B,), in [-1, 1].
            noise: (B, K), added to the inputs of the network; none if
                ``None``.
            apply_gates: (B,), in [0, 1], the additional gates; ones if
                ``None``.

        Returns:
            (B, 3, 4, 5, 5).
        """
        raise NotImplementedError


class QuadraticColorEncoder(ColorEncoder):
    """Make kernel and shift quadratic in m, for each sign of m apart.

    f(x) - x = K(m) * (x - 1/2) + s(m), [K, s](m) = C_1 |m| + C_2 m^2: a
    fully connected layer on [1, m, m^2] whose constant part is the identity.
    The additional gate scales both. Noise is added to m.
    """

    coefficients: Tensor

    def __init__(self) -> None:
        super().__init__()
        # Sign of m (0: not negative), power, output channel, and 75 taps
        # (input channel, row, column) with the shift as the last.
        self.register_buffer(
            'coefficients', torch.zeros(2, 2, 3, 3 * KERNEL**2 + 1)
        )

    def forward(
        self,
        magnitudes: Tensor,
        noise: Tensor | None = None,
        apply_gates: Tensor | None = None,
    ) -> Tensor:
        """Return [K(m), s(m)] as kernels, (B, 3, 4, 5, 5)."""
        if noise is not None:
            magnitudes = magnitudes + noise[:, 0]
        coefficients = self.coefficients.to(magnitudes)
        chosen = coefficients[(magnitudes < 0).long()]
        strength = magnitudes.abs()
        powers = torch.stack([strength, strength.square()], dim=1)
        flat = torch.einsum('bp,bpok->bok', powers, chosen)
        if apply_gates is not None:
            flat = flat * apply_gates.view(-1, 1, 1)
        taps = flat[..., :-1].view(-1, 3, 3, KERNEL, KERNEL)
        shift = flat[..., -1:, None] * center_tap(magnitudes)
        return torch.cat([taps, shift.unsqueeze(2)], dim=2)


class ScaleShiftColorEncoder(ColorEncoder):
    """Be the paper's: one scale, one shift, then one fixed convolution.

    f(x) = C(x scale + shift), scale = k (sigmoid(u) - 1/2) + 1, shift =
    sigmoid(w) - 1/2, [u, w] = FC([theta_E,V, m]); k is 1 in the paper. The
    additional gate a acts on scale and shift, 1 - a + a scale and a shift,
    not on the convolution. Noise is added to theta_E,V, not to m.
    """

    feature: Tensor
    weight: Tensor
    gain: Tensor
    convolution: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer('feature', torch.zeros(FEATURES))
        self.register_buffer('weight', torch.zeros(2, FEATURES + 1))
        self.register_buffer('gain', torch.ones(()))
        self.register_buffer('convolution', torch.zeros(3, 3, KERNEL, KERNEL))

    def forward(
        self,
        magnitudes: Tensor,
        noise: Tensor | None = None,
        apply_gates: Tensor | None = None,
    ) -> Tensor:
        """Return the kernels of f(x) - x, (B, 3, 4, 5, 5)."""
        feature = self.feature.to(magnitudes)
        feature = feature.expand(len(magnitudes), FEATURES)
        if noise is not None:
            feature = feature + noise[:, :FEATURES]
        inputs = torch.cat([feature, magnitudes.unsqueeze(1)], dim=1)
        hidden = torch.sigmoid(inputs @ self.weight.to(inputs).T) - 0.5
        excess = self.gain.to(inputs) * hidden[:, 0]
        shift = hidden[:, 1]
        if apply_gates is not None:
            excess, shift = apply_gates * excess, apply_gates * shift
        scale = (1 + excess).view(-1, 1, 1, 1, 1)
        convolution = self.convolution.to(inputs)
        delta = center_tap(inputs)
        identity = torch.eye(3).to(inputs)[:, :, None, None] * delta
        on_image = scale * convolution - identity
        # x = (x - 1/2) + 1/2, the second part on the valid region only.
        constant = (0.5 * scale[:, 0] + shift.view(-1, 1, 1, 1)).unsqueeze(1)
        on_valid = constant * convolution.sum(dim=1)[:, None] - 0.5 * delta
        return torch.cat([on_image, on_valid], dim=2)


def center_tap(like: Tensor) -> Tensor:
    """Return a kernel (5, 5) that copies its input."""
    kernel = torch.zeros(KERNEL, KERNEL, dtype=like.dtype, device=like.device)
    kernel[KERNEL // 2, KERNEL // 2] = 1
    return kernel
