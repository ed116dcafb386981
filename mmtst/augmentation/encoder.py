"""Augment a batch under a policy: TST's f_DE."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmtst.augmentation.base import (
    AFFINE_OPERATORS,
    COLOR_OPERATORS,
    MAGNITUDE_OPERATORS,
    OPERATORS,
    AugmentDraw,
    AugmentRecord,
    Policy,
)
from mmtst.augmentation.composition import (
    add_color,
    sum_warped_images,
    warp_open,
)
from mmtst.augmentation.drawing import draw_batch, signed_operators
from mmtst.augmentation.gates import GateForm, relaxed_bernoulli
from mmtst.augmentation.image_space import Fill, ImageSpace
from mmtst.augmentation.meta_encoders import (
    build_meta_encoders,
    load_prior,
    shipped_prior,
)
from mmtst.augmentation.options import (
    Composition,
    check_choice,
    check_options,
)
from mmtst.augmentation.presets import PRESETS, Network
from mmtst.geometry import Aspect, from_normalized, identity_matrix
from mmtst.registry import MODELS

_T = TypeVar('_T')


@MODELS.register_module()
class AugmentationEncoder(BaseModule):  # type: ignore[misc]
    """Augment images by a policy that a gradient can reach.

    Fourteen operators, of which each image is given ``num_operators`` at
    random; operator i acts as far as its gate b_i is open:

    - ``matrix_sum`` (Eq. 6-8): one warp by Ahat = I + sum b_i (A_i - I), then
      xhat = x_a + sum b_i (f_i(x_a) - x_a) over the color operators;
    - ``image_sum`` (Eq. 5): xhat = x + sum b_i (f_i(x) - x) over all.

    Nothing here is a Parameter: the policy (``th_p``, ``th_m``) and the
    fitted meta-encoders are buffers. Stage II passes leaves of its own to
    ``resolve`` and writes back by ``write_policy``.

    Options that are ``None`` are what the preset says.

    Args:
        preset: ``default``, ``paper`` (the equations as printed) or
            ``official`` (what the reference code does).
        num_operators: N_A, operators drawn for each image, 1 to 14.
        composition: ``matrix_sum`` or ``image_sum``.
        temperature: Of the relaxed Bernoulli gates, over 0.
        gate: Form of the gates; see ``gates.GateForm``.
        per_sample: Whether each image has a draw of its own.
        magnitude_gate: Whether magnitudes go through a gate too.
        apply_prob: Probability of the additional gates on A, scale and
            shift, over 0, at most 1.
        encoder_noise_std: Of the noise on the encoders' inputs.
        color_first: Whether color precedes the warp (``matrix_sum``).
        network: ``quadratic``, ``paper`` or ``official`` meta-encoders.
        prior: Path of their fitted prior; the shipped one if ``None``.
        aspect: ``normalized`` takes matrices in coordinates of each image's
            own aspect (the papers); ``corrected`` makes Rotate a true
            rotation on images that are not square.
        mirror: Whether magnitudes get a random sign (Posterize and Solarize
            have none; under the ``paper`` network only affine operators).
        cutout_fraction: Side of Cutout's square over sqrt(height width).
        fill: What a warp brings in from outside: ``mean`` (of the data
            preprocessor; mid-gray where it has none) or ``black``.
        clamp_theta: ``th_p`` and ``th_m`` stay within plus and minus this.
        channel_order: Of the network's input, ``rgb`` or ``bgr``; ``auto``
            supposes that images are loaded as BGR.
        init_cfg: Not used; of every mm module.

    Raises:
        ConfigError: An unknown or impossible option.
    """

    th_p: Tensor
    th_m: Tensor

    def __init__(
        self,
        preset: str = 'default',
        num_operators: int = 4,
        composition: Composition = 'matrix_sum',
        temperature: float = 0.05,
        gate: GateForm | None = None,
        per_sample: bool | None = None,
        magnitude_gate: bool | None = None,
        apply_prob: float | None = None,
        encoder_noise_std: float | None = None,
        color_first: bool | None = None,
        network: Network | None = None,
        prior: str | Path | None = None,
        aspect: Aspect = 'normalized',
        mirror: bool = False,
        cutout_fraction: float = 0.125,
        fill: Fill = 'mean',
        clamp_theta: float = 3.0,
        channel_order: str = 'auto',
        init_cfg: dict[str, object] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        check_choice('preset', preset, tuple(PRESETS))
        chosen = PRESETS[preset]
        self.gate = _given(gate, chosen.gate)
        self.per_sample = _given(per_sample, chosen.per_sample)
        self.magnitude_gate = _given(magnitude_gate, chosen.magnitude_gate)
        self.apply_prob = _given(apply_prob, chosen.apply_prob)
        self.encoder_noise_std = _given(
            encoder_noise_std, chosen.encoder_noise_std
        )
        self.color_first = _given(color_first, chosen.color_first)
        self.network = _given(network, chosen.network)
        self.preset = preset
        self.num_operators = num_operators
        self.composition = composition
        self.temperature = temperature
        self.aspect = aspect
        self.mirror = mirror
        self.cutout_fraction = cutout_fraction
        self.fill = fill
        self.clamp_theta = clamp_theta
        self.channel_order = channel_order
        check_options(self)
        self.meta_encoders = build_meta_encoders(
            self.network,
            load_prior(
                shipped_prior(self.network) if prior is None else prior,
                self.network,
            ),
        )
        self.register_buffer('th_p', torch.zeros(len(OPERATORS)))
        self.register_buffer('th_m', torch.zeros(len(MAGNITUDE_OPERATORS)))
        self._image_space: ImageSpace | None = None

    @property
    def policy(self) -> Policy:
        """Return the policy's buffers themselves, not a copy."""
        return Policy(self.th_p, self.th_m)

    @property
    def image_space(self) -> ImageSpace:
        """Return the bound image space; RuntimeError if there is none."""
        if self._image_space is None:
            raise RuntimeError(
                'the augmentation does not know how its images were '
                'normalized: call bind(data_preprocessor) with the '
                "student's data preprocessor before augment()"
            )
        return self._image_space

    def bind(self, data_preprocessor: nn.Module) -> None:
        """Learn from a data preprocessor how images are normalized.

        Args:
            data_preprocessor: The student's. Not kept, nor saved.

        Raises:
            ConfigError: It does not give images of three channels.
        """
        self._image_space = ImageSpace.from_preprocessor(
            data_preprocessor, self.channel_order
        )

    @torch.no_grad()
    def write_policy(self, policy: Policy) -> None:
        """Take over a policy, clamped to plus and minus ``clamp_theta``.

        Args:
            policy: Finite, (14,) and (11,).

        Raises:
            ValueError: A value is not finite, or a shape differs; the
                buffers are left as they were.
        """
        for name, value in policy._asdict().items():
            buffer = getattr(self, name)
            if value.shape != buffer.shape:
                raise ValueError(
                    f'{name} must have the shape {tuple(buffer.shape)}, got '
                    f'{tuple(value.shape)}'
                )
            if not bool(torch.isfinite(value).all()):
                raise ValueError(
                    f'{name} must be finite, got {value.tolist()}'
                )
        limit = self.clamp_theta
        self.th_p.copy_(policy.th_p.clamp(-limit, limit))
        self.th_m.copy_(policy.th_m.clamp(-limit, limit))

    def draw(
        self,
        sizes: Tensor,
        generator: torch.Generator,
        operators: Sequence[str] | None = None,
    ) -> AugmentDraw:
        """Draw the randomness of a batch; the policy does not enter.

        Args:
            sizes: (B, 2), (height, width) of the valid regions in pixels.
            generator: A CPU generator; how far it moves depends on B alone.
            operators: The candidates, by name; all fourteen if ``None``.
                Each image is given ``num_operators`` of them, or all where
                there are fewer.

        Returns:
            The draw, on the device of ``sizes``, in its dtype (float32 at
            least).

        Raises:
            ConfigError: Unknown or no operators.
        """
        return draw_batch(
            sizes,
            generator,
            num_operators=self.num_operators,
            candidates=OPERATORS if operators is None else operators,
            per_sample=self.per_sample,
            signed=signed_operators(self.mirror, self.network),
        )

    def resolve(
        self,
        draw: AugmentDraw,
        policy: Policy | None = None,
        temperature: float | None = None,
    ) -> AugmentRecord:
        """Turn a draw into gates, magnitudes and matrices under a policy.

        Args:
            draw: The randomness.
            policy: Differentiable where it requires gradients; the buffers,
                detached, if ``None``.
            temperature: Of all gates; the encoder's own if ``None``.

        Returns:
            The record, float32 at least, under autocast too.
        """
        policy = self.policy.detach() if policy is None else policy
        tau = _given(temperature, self.temperature)
        with torch.autocast(policy.th_p.device.type, enabled=False):
            dtype = torch.promote_types(policy.th_p.dtype, torch.float32)
            th_p, th_m = policy.th_p.to(dtype), policy.th_m.to(dtype)
            gates = relaxed_bernoulli(
                th_p, draw.gate_noise.to(dtype), tau, self.gate
            )
            gates = gates * draw.selected
            if self.magnitude_gate:
                magnitudes = relaxed_bernoulli(
                    th_m, draw.magnitude_noise.to(dtype), tau, self.gate
                )
            else:
                magnitudes = torch.sigmoid(th_m).expand(len(draw), -1)
            magnitudes = magnitudes * draw.mirror.to(dtype)
            apply_gates = self._apply_gates(draw.apply_noise.to(dtype), tau)
            steps = self._affine_steps(
                magnitudes, apply_gates, self._scaled_noise(draw, dtype)
            )
            steps = steps * draw.shrink.to(dtype).view(-1, 1, 1, 1)
            sizes = draw.sizes.to(dtype)
            image_matrices = None
            if self.composition == 'image_sum':
                matrix = identity_matrix(
                    len(draw), dtype=dtype, device=sizes.device
                )
                image_matrices = self._to_pixels(steps.flatten(0, 1), sizes)
                image_matrices = image_matrices.view_as(steps)
            else:
                opened = gates[:, : len(AFFINE_OPERATORS), None, None]
                matrix = self._to_pixels((opened * steps).sum(dim=1), sizes)
        return AugmentRecord(
            draw, gates, magnitudes, apply_gates, matrix, image_matrices
        )

    def augment(self, images: Tensor, record: AugmentRecord) -> Tensor:
        """Augment images by a record.

        Args:
            images: (B, 3, H, W), the network's input, padded at the right
                and at the bottom. Not edited.
            record: Of the same B images.

        Returns:
            A new tensor (B, 3, H, W) of the same dtype, differentiable in
            the record and in the images. Padding stays as it was; an image
            with no open gate is the same bit for bit, and one with no open
            affine operator is not resampled.

        Raises:
            RuntimeError: ``bind`` was not called.
            ValueError: Not (B, 3, H, W), or B is not that of the record.
        """
        space = self.image_space
        if images.dim() != 4 or images.shape[:2] != (len(record), 3):
            raise ValueError(
                f'images must have the shape ({len(record)}, 3, H, W) of '
                f'their record, got {tuple(images.shape)}'
            )
        with torch.autocast(images.device.type, enabled=False):
            dtype = torch.promote_types(images.dtype, torch.float32)
            result = images.to(dtype)
            fill = space.fill_network(self.fill, result)
            kernels = self._color_kernels(record)
            color = (space, kernels, record, self.cutout_fraction)
            if self.composition == 'image_sum':
                warped = sum_warped_images(result, record, fill)
                result = add_color(warped, result, *color)
            elif self.color_first:
                result = add_color(result, result, *color)
                result = warp_open(result, record, fill)
            else:
                result = warp_open(result, record, fill)
                result = add_color(result, result, *color)
            result = result.to(images.dtype)
        return result.clone() if result is images else result

    def forward(
        self, images: Tensor, sizes: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, AugmentRecord]:
        """Draw, resolve under the buffers' policy and apply.

        Args:
            images: (B, 3, H, W), the network's input.
            sizes: (B, 2), (height, width) of the valid regions in pixels.
            generator: A CPU generator.

        Returns:
            The augmented images and the record for their labels.
        """
        record = self.resolve(self.draw(sizes, generator))
        return self.augment(images, record), record

    def _apply_gates(self, noise: Tensor, temperature: float) -> Tensor:
        """Return the additional gates (B, 11); ones if always open."""
        if self.apply_prob >= 1:
            return torch.ones_like(noise)
        parameter = torch.logit(noise.new_tensor(self.apply_prob))
        return relaxed_bernoulli(parameter, noise, temperature)

    def _scaled_noise(
        self, draw: AugmentDraw, dtype: torch.dtype
    ) -> Tensor | None:
        """Return the noise on the encoders' inputs (B, 11, K), if any."""
        if self.encoder_noise_std == 0:
            return None
        return self.encoder_noise_std * draw.encoder_noise.to(dtype)

    def _affine_steps(
        self, magnitudes: Tensor, apply_gates: Tensor, noise: Tensor | None
    ) -> Tensor:
        """Return A_i - I of each affine operator, (B, 5, 2, 3)."""
        steps = []
        for i, name in enumerate(AFFINE_OPERATORS):
            own_noise = None if noise is None else noise[:, i]
            theta = self.meta_encoders[name](magnitudes[:, i], own_noise)
            step = theta - torch.eye(2, 3).to(theta)
            steps.append(apply_gates[:, i, None, None] * step)
        return torch.stack(steps, dim=1)

    def _to_pixels(self, steps: Tensor, sizes: Tensor) -> Tensor:
        """Turn A - I (n, 2, 3), normalized, into matrices in pixels."""
        theta = steps + torch.eye(2, 3).to(steps)
        sizes = sizes.repeat_interleave(len(theta) // len(sizes), dim=0)
        return from_normalized(theta, sizes, self.aspect)

    def _color_kernels(self, record: AugmentRecord) -> Tensor:
        """Sum b_i K_i over the learned color operators, (B, 3, 4, 5, 5)."""
        first = len(AFFINE_OPERATORS)
        noise = self._scaled_noise(record.draw, record.gates.dtype)
        total = record.gates.new_zeros(len(record), 3, 4, 5, 5)
        for i, name in enumerate(COLOR_OPERATORS, start=first):
            kernel = self.meta_encoders[name](
                record.magnitudes[:, i],
                None if noise is None else noise[:, i],
                record.apply_gates[:, i],
            )
            total = total + record.gates[:, i].view(-1, 1, 1, 1, 1) * kernel
        return total


def _given(value: _T | None, otherwise: _T) -> _T:
    return otherwise if value is None else value
