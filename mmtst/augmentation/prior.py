"""Fit the meta-encoders to the manual operators: TST's Stage I.

A color encoder's error over a set of images (Eq. 3) is computed from moments,
see ``prior_moments``.

- ``quadratic``: weighted least squares in closed form. Magnitudes count by
  the inverse root of identity's squared error there: halfway between the
  absolute error, which would leave weak magnitudes to chance, and the
  relative one, which takes strength from Posterize's strongest.
- ``paper`` and ``official``: AdamW. The color encoders go down Eq. 3 on the
  moments; the affine encoders go down the squared displacement of the
  pixels (the difference of warped images is flat where they are far apart).
  The schedule is shorter and its rate higher than in the reference code:
  600 steps from 0.01 for color, 300 steps from 0.05 for matrices, each down
  to a hundredth and each over all images and magnitudes.
  ``official`` fits both signs of m, trains k, and has noise on its
  features; ``paper`` has m in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mmtst.augmentation.affine_encoder import (
    BasisAffineEncoder,
    ConcatAffineEncoder,
)
from mmtst.augmentation.base import COLOR_OPERATORS, MAGNITUDE_OPERATORS
from mmtst.augmentation.color_encoder import (
    FEATURES,
    KERNEL,
    QuadraticColorEncoder,
    ScaleShiftColorEncoder,
)
from mmtst.augmentation.manual_operators import (
    UNSIGNED_OPERATORS,
    affine_target,
)
from mmtst.augmentation.meta_encoders import Prior, build_meta_encoder
from mmtst.augmentation.presets import Network
from mmtst.augmentation.prior_moments import (
    ONE,
    Moments,
    gather_moments,
    merge_moments,
)

_NODES = 10


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
    prior: Prior = {}
    signs = {name: _signs(name, network) for name in MAGNITUDE_OPERATORS}
    strengths = torch.arange(1, _NODES + 1, dtype=torch.float64) / _NODES
    grids = [
        (name, sign * strengths)
        for name in COLOR_OPERATORS
        for sign in signs[name]
    ]
    moments: dict[str, list[Moments]] = {name: [] for name in COLOR_OPERATORS}
    gathered = gather_moments(grids, images, binned)
    for (name, _), own in zip(grids, gathered, strict=True):
        moments[name].append(own)
    for index, name in enumerate(MAGNITUDE_OPERATORS):
        encoder = build_meta_encoder(name, network).double()
        generator = torch.Generator().manual_seed(seed * 100 + index)
        if isinstance(encoder, BasisAffineEncoder):
            fit_affine_basis(encoder, name, binned, images.shape[-1])
        elif isinstance(encoder, ConcatAffineEncoder):
            grid = torch.cat([sign * strengths for sign in signs[name]])
            fit_affine_descent(
                encoder, name, grid, generator, binned, images.shape[-1]
            )
        elif isinstance(encoder, QuadraticColorEncoder):
            fit_color_quadratic(encoder, moments[name])
        elif isinstance(encoder, ScaleShiftColorEncoder):
            merged = merge_moments(moments[name])
            fit_color_descent(
                encoder, merged, network == 'official', generator
            )
        prior[name] = {
            key: value.detach().float()
            for key, value in encoder.named_buffers()
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
    encoder: QuadraticColorEncoder, moments: Sequence[Moments]
) -> None:
    """Fit kernel and shift, quadratic in |m|, in closed form.

    Minimizes sum_m w(m) |d(m) - (|m| C_1 + m^2 C_2) z|^2, w the inverse root
    of identity's mean squared error.

    Args:
        encoder: Fitted in place; float64.
        moments: Of the operator at magnitudes over 0 and, where it has
            signs, at magnitudes under 0.
    """
    features = [*range(3 * KERNEL**2), ONE]
    for side, own in enumerate(moments):
        weights = own.identity.clamp_min(1e-12).rsqrt()
        strengths = own.magnitudes.abs()
        powers = torch.stack([strengths, strengths.square()])
        gram = torch.einsum('m,pm,qm->pq', weights, powers, powers)
        right = torch.einsum('m,pm,mck->pck', weights, powers, own.cross)
        # The normal matrix is a Kronecker product: solve for the powers,
        # then for the taps.
        mixed = torch.linalg.solve(gram, right.flatten(1))
        mixed = mixed.view_as(right)[:, :, features]
        patches = own.patches[features][:, features]
        ridge = 1e-6 * patches.diagonal().mean()
        patches = patches + ridge * torch.eye(len(features)).to(patches)
        solution = torch.linalg.solve(patches, mixed.transpose(1, 2))
        encoder.coefficients[side] = solution.transpose(1, 2)
    if len(moments) == 1:
        encoder.coefficients[1] = encoder.coefficients[0]


def fit_color_descent(
    encoder: ScaleShiftColorEncoder,
    moments: Moments,
    official: bool,
    generator: torch.Generator,
    steps: int = 600,
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
    # AdamW does not feel the scale of a loss; only its epsilon does.
    count, scale = len(moments.magnitudes), moments.identity.mean()

    def loss() -> Tensor:
        noise = 0.01 * normal(1, FEATURES).expand(count, -1)
        kernels = encoder(moments.magnitudes, noise if official else None)
        return moments.error(kernels).mean() / scale

    _descend(encoder, names, loss, steps, rate=0.01, decay=0.0)


def fit_affine_descent(
    encoder: ConcatAffineEncoder,
    operator: str,
    magnitudes: Tensor,
    generator: torch.Generator,
    binned: bool = False,
    side: int = 32,
    steps: int = 300,
) -> None:
    """Fit the paper's affine network by AdamW on displacements.

    Args:
        encoder: Fitted in place; float64.
        operator: One of ``AFFINE_OPERATORS``.
        magnitudes: (M,), float64, where to fit.
        generator: Of the start.
        binned: Whether targets round the magnitude to ten bins.
        side: Side of the images, for binned translations.
        steps: Of the optimizer; each takes all magnitudes.
    """
    encoder.feature.copy_(
        torch.randn(6, generator=generator, dtype=torch.float64)
    )
    targets = torch.stack(
        [affine_target(operator, float(m), binned, side) for m in magnitudes]
    )

    def loss() -> Tensor:
        return squared_displacement(encoder(magnitudes), targets).mean()

    names = ['feature', 'weight', 'bias']
    _descend(encoder, names, loss, steps, rate=0.05, decay=0.01)


def squared_displacement(theta: Tensor, target: Tensor) -> Tensor:
    """Return how far apart two warps sample, over the whole image.

    Args:
        theta: (M, 2, 3), output -> input, normalized coordinates.
        target: The same.

    Returns:
        (M,), the mean squared distance, in sides of a square image.
    """
    # x and y are uniform over [-1, 1], whose mean square is 1/3; the side
    # is 2.
    spread = theta.new_tensor([1 / 3, 1 / 3, 1.0])
    return ((theta - target).square() * spread).sum(dim=(1, 2)) / 4


def _descend(
    encoder: nn.Module,
    names: list[str],
    loss: Callable[[], Tensor],
    steps: int,
    rate: float,
    decay: float,
) -> None:
    """Minimize over some buffers of an encoder by AdamW, then freeze them."""
    buffers = dict(encoder.named_buffers())
    leaves = [buffers[name].requires_grad_() for name in names]
    optimizer = torch.optim.AdamW(leaves, lr=rate, weight_decay=decay)
    # The rate falls to a hundredth of its start.
    schedule = torch.optim.lr_scheduler.ExponentialLR(
        optimizer, 0.01 ** (1 / steps)
    )
    for _ in range(steps):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        schedule.step()
    for leaf in leaves:
        leaf.requires_grad_(False)


def _signs(operator: str, network: Network) -> tuple[int, ...]:
    """Return the signs of the magnitudes that an encoder is fitted at."""
    if network == 'paper' or operator in UNSIGNED_OPERATORS:
        return (1,)
    return (1, -1)
