"""Draw the randomness of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmtst.augmentation.affine_encoder import NOISE_WIDTH
from mmtst.augmentation.base import (
    AFFINE_OPERATORS,
    MAGNITUDE_OPERATORS,
    OPERATORS,
    AugmentDraw,
)
from mmtst.augmentation.gates import logistic_noise
from mmtst.augmentation.manual_operators import UNSIGNED_OPERATORS
from mmtst.augmentation.presets import Network
from mmtst.utils.errors import ConfigError


def draw_batch(
    sizes: Tensor,
    generator: torch.Generator,
    *,
    num_operators: int,
    candidates: Sequence[str],
    per_sample: bool,
    signed: Sequence[bool],
) -> AugmentDraw:
    """Draw operators, noise, signs and places for a batch.

    Everything is drawn in full for every image: options decide what is
    used, not where the generator stands afterwards.

    Args:
        sizes: (B, 2), (height, width) of the valid regions in pixels.
        generator: A CPU generator.
        num_operators: How many of the candidates each image is given; all
            where there are fewer.
        candidates: Names of operators.
        per_sample: Whether images differ; else all take the first one's
            draw, save for the additional gates and the affine encoders'
            noise.
        signed: Of each of ``MAGNITUDE_OPERATORS``, whether its magnitude
            gets a random sign.

    Returns:
        The draw, on the device of ``sizes``, in its dtype (float32 at
        least).

    Raises:
        ConfigError: Unknown or no candidates.
    """
    batch, count = len(sizes), len(MAGNITUDE_OPERATORS)
    dtype = torch.promote_types(sizes.dtype, torch.float32)

    def uniform(columns: int) -> Tensor:
        return torch.rand(
            batch, columns, generator=generator, dtype=torch.float64
        )

    def share(value: Tensor) -> Tensor:
        return value if per_sample else value[:1].expand_as(value)

    def place(value: Tensor) -> Tensor:
        return value.to(sizes.device, dtype).contiguous()

    selected = select_operators(
        uniform(len(OPERATORS)), num_operators, candidates
    )
    gate_noise = logistic_noise((batch, len(OPERATORS)), generator)
    magnitude_noise = logistic_noise((batch, count), generator)
    apply_noise = logistic_noise((batch, count), generator)
    encoder_noise = torch.randn(
        batch, count, NOISE_WIDTH, generator=generator, dtype=torch.float64
    )
    sign = (uniform(count) < 0.5).double() * 2 - 1
    sign = torch.where(torch.tensor(signed), sign, 1.0)
    center = uniform(2)
    affine = len(AFFINE_OPERATORS)
    # The reference code's color networks share one draw, its affine ones
    # do not.
    encoder_noise = torch.cat(
        [encoder_noise[:, :affine], share(encoder_noise[:, affine:])], dim=1
    )
    return AugmentDraw(
        sizes=sizes.to(dtype),
        selected=share(selected).to(sizes.device).contiguous(),
        gate_noise=place(share(gate_noise)),
        magnitude_noise=place(share(magnitude_noise)),
        apply_noise=place(apply_noise),
        encoder_noise=place(encoder_noise),
        mirror=place(share(sign)),
        cutout_center=place(share(center)),
        shrink=sizes.new_ones(batch, dtype=dtype),
    )


def signed_operators(mirror: bool, network: Network) -> list[bool]:
    """Say which magnitudes may get a random sign.

    Args:
        mirror: Whether any may.
        network: ``paper`` color encoders are fitted to positive magnitudes
            alone; affine ones are linear in m.

    Returns:
        One value for each of ``MAGNITUDE_OPERATORS``.
    """
    return [
        mirror
        and name not in UNSIGNED_OPERATORS
        and (network != 'paper' or name in AFFINE_OPERATORS)
        for name in MAGNITUDE_OPERATORS
    ]


def select_operators(
    scores: Tensor, num_operators: int, candidates: Sequence[str]
) -> Tensor:
    """Choose the candidates with the highest scores in each row.

    Args:
        scores: (B, 14), in [0, 1).
        num_operators: How many; all candidates where there are fewer.
        candidates: Names of operators.

    Returns:
        (B, 14), bool.

    Raises:
        ConfigError: Unknown or no candidates.
    """
    unknown = [name for name in candidates if name not in OPERATORS]
    if unknown or not candidates:
        raise ConfigError(
            'Unknown operators' if unknown else 'No operator to draw from',
            where='model.augmentation: draw(operators=)',
            got=unknown or None,
            allowed=', '.join(OPERATORS),
        )
    candidate = torch.tensor([name in candidates for name in OPERATORS])
    scores = scores.masked_fill(~candidate, -1.0)
    count = min(num_operators, int(candidate.sum()))
    selected = torch.zeros_like(scores, dtype=torch.bool)
    return selected.scatter(1, scores.topk(count, dim=1).indices, True)
