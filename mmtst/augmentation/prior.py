"""Fit the meta-encoders to the manual operators: TST's Stage I.

A color encoder is one convolution at any magnitude, so that its squared
error over a set of images (Eq. 3) is a quadratic form of the kernel: it is
computed exactly from second moments of the 5 x 5 patches, gathered once.

- ``quadratic``: weighted least squares in closed form. Magnitudes count by
  the inverse root of identity's squared error there: halfway between the
  absolute error, which would leave weak magnitudes to chance, and the
  relative one, which takes strength from Posterize's strongest.
- ``paper`` and ``official``: AdamW on Eq. 3, the color encoders on the
  moments, the affine encoders on warped images; shorter and with a higher
  rate than the reference code, since no step is spent on sampling noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmtst.augmentation.affine_encoder import (
    BasisAffineEncoder,
    ConcatAffineEncoder,
)
from mmtst.augmentation.base import MAGNITUDE_OPERATORS
from mmtst.augmentation.color_encoder import (
    FEATURES,
    KERNEL,
    QuadraticColorEncoder,
    ScaleShiftColorEncoder,
)
from mmtst.augmentation.manual_operators import (
    UNSIGNED_OPERATORS,
    affine_target,
    apply_manual,
)
from mmtst.augmentation.meta_encoders import Prior, build_meta_encoder
from mmtst.augmentation.presets import Network
from mmtst.geometry import from_normalized, warp_images

TAPS = 4 * KERNEL**2
"""Patch features: 3 channels of x - 1/2 and the valid mask."""
_SHIFT = 3 * KERNEL**2 + KERNEL**2 // 2
"""The feature that is 1 at every pixel: the mask's center tap."""
_NODES = 10
_CHUNK = 64


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
    operator: str, images: Tensor, magnitudes: Tensor, binned: bool = False
) -> Moments:
    """Gather the moments of one color operator over a set of images.

    Args:
        operator: One of ``COLOR_OPERATORS``.
        images: (N, 3, H, W), raw RGB in [0, 1].
        magnitudes: (M,).
        binned: Whether targets round the magnitude to ten bins.

    Returns:
        The moments, float64.
    """
    patches = images.new_zeros(TAPS, TAPS)
    cross = images.new_zeros(3 * len(magnitudes), TAPS)
    identity = images.new_zeros(len(magnitudes))
    for start in range(0, len(images), _CHUNK):
        chunk = images[start : start + _CHUNK]
        ones = torch.ones_like(chunk[:, :1])
        inputs = torch.cat([chunk - 0.5, ones], dim=1)
        # (100, n)
        z = nn.functional.unfold(inputs, KERNEL, padding=KERNEL // 2)
        z = z.transpose(0, 1).flatten(1)
        differences = torch.stack(
            [
                apply_manual(operator, chunk, float(m), binned) - chunk
                for m in magnitudes
            ]
        )
        d = differences.transpose(1, 2).flatten(2).flatten(0, 1)
        patches += z @ z.T
        cross += d @ z.T
        identity += differences.square().sum(dim=(1, 2, 3, 4)) / 3
    count = images.numel() // 3
    return Moments(
        magnitudes,
        patches / count,
        cross.view(len(magnitudes), 3, TAPS) / count,
        identity / count,
    )


def fit_prior(
    network: Network, images: Tensor, seed: int = 0, binned: bool = False
) -> Prior:
    """Fit all eleven meta-encoders.

    Args:
        network: ``quadratic``, ``paper`` or ``official``.
        images: (N, 3, H, W), raw RGB in [0, 1], square.
        seed: Of the gradient fits; the closed form needs none.
        binned: Whether targets round the magnitude to ten bins.

    Returns:
        The tensors of each meta-encoder, float32.

    Raises:
        ConfigError: Unknown network.
    """
    images = images.double()
    prior: Prior = {}
    for index, operator in enumerate(MAGNITUDE_OPERATORS):
        encoder = build_meta_encoder(operator, network).double()
        generator = torch.Generator().manual_seed(seed * 100 + index)
        signed = network != 'paper' and operator not in UNSIGNED_OPERATORS
        if isinstance(encoder, BasisAffineEncoder):
            fit_affine_basis(encoder, operator, binned, images.shape[-1])
        elif isinstance(encoder, ConcatAffineEncoder):
            fit_affine_descent(
                encoder, operator, images, signed, generator, binned
            )
        elif isinstance(encoder, QuadraticColorEncoder):
            fit_color_quadratic(encoder, operator, images, binned)
        elif isinstance(encoder, ScaleShiftColorEncoder):
            moments = gather_moments(
                operator, images, _nodes(signed).to(images), binned
            )
            fit_color_descent(
                encoder, moments, network == 'official', generator
            )
        prior[operator] = {
            name: value.detach().float()
            for name, value in encoder.named_buffers()
        }
    return prior


def fit_affine_basis(
    encoder: BasisAffineEncoder, operator: str, binned: bool, side: int
) -> None:
    """Fit A(m) = I + C phi(m) by least squares on the target matrices.

    Args:
        encoder: Fitted in place; float64.
        operator: One of ``AFFINE_OPERATORS``.
        binned: Whether targets round the magnitude to ten bins.
        side: Side of the images, for binned translations.
    """
    magnitudes = torch.linspace(-1, 1, 81, dtype=torch.float64)
    targets = torch.stack(
        [affine_target(operator, float(m), binned, side) for m in magnitudes]
    )
    change = (targets - torch.eye(2, 3).to(targets)).flatten(1)
    solution = torch.linalg.pinv(encoder.basis(magnitudes)) @ change
    encoder.coefficients.copy_(solution.T)


def fit_color_quadratic(
    encoder: QuadraticColorEncoder,
    operator: str,
    images: Tensor,
    binned: bool = False,
) -> None:
    """Fit kernel and shift, quadratic in m, in closed form.

    Minimizes sum_m w(m) |d(m) - (m C_1 + m^2 C_2) z|^2, w the inverse root
    of identity's mean squared error; both signs of m apart, Posterize and
    Solarize, which have none, once.

    Args:
        encoder: Fitted in place; float64.
        operator: One of ``COLOR_OPERATORS``.
        images: (N, 3, H, W), float64, raw RGB in [0, 1].
        binned: Whether targets round the magnitude to ten bins.
    """
    strengths = _nodes(False).to(images)
    features = [*range(3 * KERNEL**2), _SHIFT]
    for side, sign in enumerate((1, -1)):
        if side == 1 and operator in UNSIGNED_OPERATORS:
            encoder.coefficients[1] = encoder.coefficients[0]
            continue
        moments = gather_moments(operator, images, sign * strengths, binned)
        weights = moments.identity.clamp_min(1e-12).rsqrt()
        powers = torch.stack([strengths, strengths.square()])
        gram = torch.einsum('m,pm,qm->pq', weights, powers, powers)
        right = torch.einsum('m,pm,mck->pck', weights, powers, moments.cross)
        # The normal matrix is a Kronecker product: solve for the powers,
        # then for the taps.
        mixed = torch.linalg.solve(gram, right.flatten(1))
        mixed = mixed.view_as(right)[:, :, features]
        patches = moments.patches[features][:, features]
        ridge = 1e-6 * patches.diagonal().mean()
        patches = patches + ridge * torch.eye(len(features)).to(patches)
        solution = torch.linalg.solve(patches, mixed.transpose(1, 2))
        encoder.coefficients[side] = solution.transpose(1, 2)


def fit_color_descent(
    encoder: ScaleShiftColorEncoder,
    moments: Moments,
    official: bool,
    generator: torch.Generator,
    steps: int = 800,
) -> None:
    """Fit one scale, one shift and a fixed kernel by AdamW on Eq. 3.

    Args:
        encoder: Fitted in place; float64.
        moments: Of the operator, at the magnitudes to fit.
        official: Whether k is trained and the feature vector noisy.
        generator: Of the start and of the noise.
        steps: Of the optimizer; each takes all images and magnitudes.
    """

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    identity = torch.zeros_like(encoder.convolution)
    identity[range(3), range(3), KERNEL // 2, KERNEL // 2] = 1
    encoder.feature.copy_(normal(FEATURES))
    encoder.weight.copy_(normal(2, FEATURES + 1) / (FEATURES + 1) ** 0.5)
    encoder.convolution.copy_(identity + 0.01 * normal(*identity.shape))
    names = ['feature', 'weight', 'convolution'] + ['gain'] * official
    count = len(moments.magnitudes)
    # As at the shallow weight: dividing makes rates comparable.
    weight = 1 / moments.identity.mean()

    def loss() -> Tensor:
        noise = 0.01 * normal(1, FEATURES).expand(count, -1)
        kernels = encoder(moments.magnitudes, noise if official else None)
        return weight * moments.error(kernels).mean()

    _descend(encoder, names, loss, steps, decay=0.0)


def fit_affine_descent(
    encoder: ConcatAffineEncoder,
    operator: str,
    images: Tensor,
    signed: bool,
    generator: torch.Generator,
    binned: bool = False,
    steps: int = 300,
    batch: int = 16,
) -> None:
    """Fit the paper's affine network by AdamW on warped images, Eq. 3.

    Args:
        encoder: Fitted in place; float64.
        operator: One of ``AFFINE_OPERATORS``.
        images: (N, 3, S, S), float64, raw RGB in [0, 1].
        signed: Whether magnitudes are drawn from [-1, 1], not [0, 1].
        generator: Of the start, the batches and the magnitudes.
        binned: Whether targets round the magnitude to ten bins.
        steps: Of the optimizer.
        batch: Images a step, all at one magnitude.
    """
    encoder.feature.copy_(
        torch.randn(6, generator=generator, dtype=torch.float64)
    )
    side = images.shape[-1]
    sizes = images.new_tensor([[side, side]])
    # The same color from outside on both sides: no error at the border.
    gray = [0.5, 0.5, 0.5]

    def loss() -> Tensor:
        chosen = torch.randint(len(images), (batch,), generator=generator)
        m = torch.rand(1, generator=generator, dtype=torch.float64)
        if signed:
            m = 2 * m - 1
        source = images[chosen]
        target = apply_manual(operator, source, float(m), binned, gray)
        matrix = from_normalized(encoder(m), sizes)
        warped = warp_images(
            source, matrix.expand(batch, 2, 3), sizes.expand(batch, 2), 0.5
        )
        return (warped - target).square().mean()

    _descend(encoder, ['feature', 'weight', 'bias'], loss, steps, decay=0.01)


def _descend(
    encoder: nn.Module,
    names: list[str],
    loss: Callable[[], Tensor],
    steps: int,
    decay: float,
) -> None:
    """Minimize over some buffers of an encoder by AdamW, then freeze them."""
    buffers = dict(encoder.named_buffers())
    leaves = [buffers[name].requires_grad_() for name in names]
    optimizer = torch.optim.AdamW(leaves, lr=0.01, weight_decay=decay)
    # The rate falls to a hundredth of its start.
    schedule = torch.optim.lr_scheduler.ExponentialLR(
        optimizer, 0.01 ** (1 / steps)
    )
    for _ in range(steps):
        optimizer.zero_grad()
        loss().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    for leaf in leaves:
        leaf.requires_grad_(False)


def _nodes(signed: bool) -> Tensor:
    """Return the magnitudes of a fit, float64."""
    positive = torch.arange(1, _NODES + 1, dtype=torch.float64) / _NODES
    zero = positive.new_zeros(1)
    return torch.cat([-positive, zero, positive]) if signed else positive


__all__ = [
    'Moments',
    'fit_affine_basis',
    'fit_affine_descent',
    'fit_color_descent',
    'fit_color_quadratic',
    'fit_prior',
    'gather_moments',
]
