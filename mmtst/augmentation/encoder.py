"""Augment a batch under a policy: TST's f_DE."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmtst.augmentation.base import (
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
from mmtst.augmentation.gates import GateForm
from mmtst.augmentation.image_space import Fill, ImageSpace
from mmtst.augmentation.meta_encoders import (
    build_meta_encoders,
    load_prior,
    shipped_prior,
)
from mmtst.augmentation.options import WHERE, Composition, check_options
from mmtst.augmentation.presets import PRESETS, Network
from mmtst.augmentation.resolution import color_kernels, resolve_draw
from mmtst.geometry import Aspect
from mmtst.registry import MODELS
from mmtst.utils.checks import check_choice

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
        aspect: What Rotate and the shears are on images that are not square:
            ``normalized``, torchvision's on the image squeezed to a square
            (the papers), or ``corrected``, torchvision's on the image as it
            is. Translations are shares of the side under both.
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
        check_choice(f'{WHERE}.preset', preset, PRESETS)
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
        return resolve_draw(
            draw,
            self.policy.detach() if policy is None else policy,
            _given(temperature, self.temperature),
            self.meta_encoders,
            self,
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
        # What no image reaches need not be computed.
        height, width = record.sizes.amax(dim=0).ceil().int().tolist()
        inner = images[..., :height, :width]
        with torch.autocast(images.device.type, enabled=False):
            dtype = torch.promote_types(images.dtype, torch.float32)
            result = inner.to(dtype)
            fill = space.fill_network(self.fill, result)
            kernels = color_kernels(
                record, self.meta_encoders, self.encoder_noise_std
            )
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
        if inner.shape == images.shape:
            return result.clone() if result is inner else result
        whole = images.clone()
        whole[..., :height, :width] = result
        return whole

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


def _given(value: _T | None, otherwise: _T) -> _T:
    return otherwise if value is None else value
