"""Turn the randomness of a batch into what acts on it, under a policy.

The gradient of the policy enters here and nowhere else: through the gates and
the magnitudes, and through them the matrices and color kernels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmtst.augmentation.base import (
    AFFINE_OPERATORS,
    COLOR_OPERATORS,
    AugmentDraw,
    AugmentRecord,
    Policy,
)
from mmtst.augmentation.gates import relaxed_bernoulli
from mmtst.augmentation.options import Options
from mmtst.geometry import (
    Aspect,
    anchor_corner,
    from_normalized,
    identity_matrix,
)


def resolve_draw(
    draw: AugmentDraw,
    policy: Policy,
    temperature: float,
    meta_encoders: nn.ModuleDict,
    options: Options,
) -> AugmentRecord:
    """Turn a draw into gates, magnitudes and matrices under a policy.

    Args:
        draw: The randomness of B images.
        policy: Differentiable where it requires gradients.
        temperature: Of all gates, over 0.
        meta_encoders: By operator, magnitudes (B,) -> matrix or kernel.
        options: Of the augmentation.

    Returns:
        The record, float32 at least, under autocast too.
    """
    with torch.autocast(policy.th_p.device.type, enabled=False):
        dtype = torch.promote_types(policy.th_p.dtype, torch.float32)
        th_p, th_m = policy.th_p.to(dtype), policy.th_m.to(dtype)
        gates = relaxed_bernoulli(
            th_p, draw.gate_noise.to(dtype), temperature, options.gate
        )
        if not gates.requires_grad:
            # Too little to be seen need not be computed: at tau = 0.05 and
            # p = 1/2 that is three gates of ten. A search keeps them, so
            # that no batch is without a path to the policy.
            gates = F.threshold(gates, torch.finfo(dtype).eps / 2, 0.0)
        gates = gates * draw.selected
        if options.magnitude_gate:
            magnitudes = relaxed_bernoulli(
                th_m,
                draw.magnitude_noise.to(dtype),
                temperature,
                options.gate,
            )
        else:
            magnitudes = torch.sigmoid(th_m).expand(len(draw), -1)
        magnitudes = magnitudes * draw.mirror.to(dtype)
        apply_gates = _apply_gates(
            draw.apply_noise.to(dtype), options.apply_prob, temperature
        )
        noise = _encoder_noise(draw, options.encoder_noise_std, dtype)
        sizes = draw.sizes.to(dtype)
        steps = _affine_steps(meta_encoders, magnitudes, apply_gates, noise)
        if options.aspect == 'corrected':
            # Shears are about the upper left corner, whatever the aspect.
            shears = [name.startswith('Shear') for name in AFFINE_OPERATORS]
            steps = torch.where(
                steps.new_tensor(shears).bool().view(-1, 1, 1),
                anchor_corner(steps, sizes),
                steps,
            )
        steps = steps * draw.shrink.to(dtype).view(-1, 1, 1, 1)
        image_matrices = None
        if options.composition == 'image_sum':
            matrix = identity_matrix(
                len(draw), dtype=dtype, device=sizes.device
            )
            image_matrices = _to_pixels(
                steps.flatten(0, 1), sizes, options.aspect
            ).view_as(steps)
        else:
            opened = gates[:, : len(AFFINE_OPERATORS), None, None]
            matrix = _to_pixels(
                (opened * steps).sum(dim=1), sizes, options.aspect
            )
    return AugmentRecord(
        draw, gates, magnitudes, apply_gates, matrix, image_matrices
    )


def color_kernels(
    record: AugmentRecord, meta_encoders: nn.ModuleDict, noise_std: float
) -> Tensor:
    """Sum b_i K_i over the learned color operators.

    Args:
        record: Of B images.
        meta_encoders: By operator.
        noise_std: Of the noise on the encoders' inputs.

    Returns:
        (B, 3, 4, 5, 5), the kernels of sum b_i (f_i(x) - x).
    """
    first = len(AFFINE_OPERATORS)
    noise = _encoder_noise(record.draw, noise_std, record.gates.dtype)
    total = record.gates.new_zeros(len(record), 3, 4, 5, 5)
    for i, name in enumerate(COLOR_OPERATORS, start=first):
        kernel = meta_encoders[name](
            record.magnitudes[:, i],
            None if noise is None else noise[:, i],
            record.apply_gates[:, i],
        )
        total = total + record.gates[:, i].view(-1, 1, 1, 1, 1) * kernel
    return total


def _apply_gates(
    noise: Tensor, probability: float, temperature: float
) -> Tensor:
    """Return the additional gates (B, 11); ones if always open."""
    if probability >= 1:
        return torch.ones_like(noise)
    parameter = torch.logit(noise.new_tensor(probability))
    return relaxed_bernoulli(parameter, noise, temperature)


def _encoder_noise(
    draw: AugmentDraw, std: float, dtype: torch.dtype
) -> Tensor | None:
    """Return the noise on the encoders' inputs (B, 11, K), if any."""
    return None if std == 0 else std * draw.encoder_noise.to(dtype)


def _affine_steps(
    meta_encoders: nn.ModuleDict,
    magnitudes: Tensor,
    apply_gates: Tensor,
    noise: Tensor | None,
) -> Tensor:
    """Return A_i - I of each affine operator, (B, 5, 2, 3)."""
    steps = []
    for i, name in enumerate(AFFINE_OPERATORS):
        own_noise = None if noise is None else noise[:, i]
        theta = meta_encoders[name](magnitudes[:, i], own_noise)
        step = theta - torch.eye(2, 3).to(theta)
        steps.append(apply_gates[:, i, None, None] * step)
    return torch.stack(steps, dim=1)


def _to_pixels(steps: Tensor, sizes: Tensor, aspect: Aspect) -> Tensor:
    """Turn A - I (n, 2, 3), normalized, into matrices in pixels."""
    theta = steps + torch.eye(2, 3).to(steps)
    sizes = sizes.repeat_interleave(len(theta) // len(sizes), dim=0)
    return from_normalized(theta, sizes, aspect)
