"""Define what an augmentation is made of: operators, policy, draw, record.

Three steps, each callable and replayable alone: *draw* the randomness (which
knows nothing of the policy), *resolve* it under a policy into a record
(gates, magnitudes, matrices; differentiable in the policy), *apply* the
record to images, boxes, masks and label maps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

AFFINE_OPERATORS = (
    'Rotate',
    'ShearX',
    'ShearY',
    'TranslateX',
    'TranslateY',
)
COLOR_OPERATORS = (
    'Posterize',
    'Solarize',
    'Brightness',
    'Color',
    'Contrast',
    'Sharpness',
)
FIXED_OPERATORS = ('Equalize', 'Invert', 'Cutout')
MAGNITUDE_OPERATORS = AFFINE_OPERATORS + COLOR_OPERATORS
OPERATORS = MAGNITUDE_OPERATORS + FIXED_OPERATORS


class Policy(NamedTuple):
    """Hold what Stage II trains, before the sigmoid.

    Attributes:
        th_p: Shape (14,), one probability parameter for each name in
            ``OPERATORS``; the rate of application is ``sigmoid(th_p)`` under
            the default gate.
        th_m: Shape (11,), one magnitude parameter for each name in
            ``MAGNITUDE_OPERATORS``; the magnitude is ``sigmoid(th_m)``.
    """

    th_p: Tensor
    th_m: Tensor

    @property
    def probabilities(self) -> Tensor:
        """Return ``sigmoid(th_p)``, shape (14,), in (0, 1)."""
        return torch.sigmoid(self.th_p)

    @property
    def magnitudes(self) -> Tensor:
        """Return ``sigmoid(th_m)``, shape (11,), in (0, 1)."""
        return torch.sigmoid(self.th_m)

    def leaf(self) -> Policy:
        """Return a detached copy whose tensors require gradients."""
        return Policy(
            self.th_p.detach().clone().requires_grad_(),
            self.th_m.detach().clone().requires_grad_(),
        )

    def detach(self) -> Policy:
        """Return a detached copy."""
        return Policy(self.th_p.detach().clone(), self.th_m.detach().clone())


@dataclass(frozen=True)
class AugmentDraw:
    """Hold the randomness of one batch; no policy enters.

    B is the batch size, 14 and 11 count ``OPERATORS`` and
    ``MAGNITUDE_OPERATORS``. All tensors lie on the device of the images.

    Attributes:
        sizes: (B, 2), float, (height, width) in pixels of each image's valid
            region, which starts at the upper left corner of the padded
            batch.
        selected: (B, 14), bool, the N_A operators chosen for each image.
        gate_noise: (B, 14), Logistic(0, 1) noise of the gates on p.
        magnitude_noise: (B, 11), Logistic(0, 1) noise for the relaxed
            Bernoulli on m (used only where that option is on).
        apply_noise: (B, 11), Logistic(0, 1) noise of the additional gates on
            A, scale and shift (used only where ``apply_prob`` is under 1).
        encoder_noise: (B, 11, K), standard normal noise of the encoders'
            inputs (used only where ``encoder_noise_std`` is over 0).
        mirror: (B, 11), +1 or -1, the sign of each magnitude.
        cutout_center: (B, 2), (x, y) in [0, 1] of the valid region.
        shrink: (B,), in [0, 1]; the summed matrix is moved toward identity,
            ``I + shrink * (A - I)``. 1 unless objects had to be kept.
    """

    sizes: Tensor
    selected: Tensor
    gate_noise: Tensor
    magnitude_noise: Tensor
    apply_noise: Tensor
    encoder_noise: Tensor
    mirror: Tensor
    cutout_center: Tensor
    shrink: Tensor

    def __len__(self) -> int:
        """Return the batch size."""
        return len(self.sizes)

    def index(self, keep: Tensor) -> AugmentDraw:
        """Return the draw of some images, by index or boolean mask (B,)."""
        return AugmentDraw(
            **{name: getattr(self, name)[keep] for name in self._names()}
        )

    def where(self, mask: Tensor, other: AugmentDraw) -> AugmentDraw:
        """Return this draw where ``mask`` (B,) holds, ``other`` elsewhere."""
        fields = {}
        for name in self._names():
            mine, theirs = getattr(self, name), getattr(other, name)
            shape = (-1,) + (1,) * (mine.dim() - 1)
            fields[name] = torch.where(mask.view(shape), mine, theirs)
        return AugmentDraw(**fields)

    def with_shrink(self, shrink: Tensor) -> AugmentDraw:
        """Return the same draw with another ``shrink`` (B,)."""
        return replace(self, shrink=shrink)

    @classmethod
    def _names(cls) -> tuple[str, ...]:
        return tuple(cls.__dataclass_fields__)


@dataclass(frozen=True)
class AugmentRecord:
    """Hold one draw resolved under one policy.

    One record serves images, boxes, masks and label maps alike; replaying it
    gives the same result.

    Attributes:
        draw: The randomness it was made from.
        gates: (B, 14), in [0, 1]; 0 where an operator was not selected, and
            without a gradient also where it is open by less than half the
            rounding of 1 (6e-8 in float32). Carries the gradient of ``th_p``.
        magnitudes: (B, 11), in [-1, 1] (signed only where mirrored). Carries
            the gradient of ``th_m``.
        apply_gates: (B, 11), in [0, 1], the additional gates; ones by
            default.
        matrix: (B, 2, 3), source -> destination in pixels, edge-based
            coordinates (pixel (i, j) covers [j, j + 1] x [i, i + 1]). The
            identity under image-sum composition (Eq. 5), which leaves the
            labels where they are. Carries gradient.
        image_matrices: (B, 5, 2, 3), the matrix of each affine operator
            alone, for image-sum composition; ``None`` otherwise.
    """

    draw: AugmentDraw
    gates: Tensor
    magnitudes: Tensor
    apply_gates: Tensor
    matrix: Tensor
    image_matrices: Tensor | None = None

    @property
    def sizes(self) -> Tensor:
        """Return the valid (height, width) of each image, (B, 2)."""
        return self.draw.sizes

    def __len__(self) -> int:
        """Return the batch size."""
        return len(self.draw)
