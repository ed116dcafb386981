"""State what every image augmentation has to keep to, as inherited tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from mmtst.augmentation.base import (
    AFFINE_OPERATORS,
    MAGNITUDE_OPERATORS,
    OPERATORS,
    AugmentDraw,
    AugmentRecord,
    Policy,
)

# More than 255 pixels each: equalizing fewer is the identity.
_SIZES = ((18, 24), (13, 24), (18, 15))
_CANVAS = (18, 24)
# Smaller than usual: Equalize is a step function of the pixels, and a step
# that a pixel takes within the difference would count as slope.
_STEP = 1e-7


class Encoder(Protocol):
    """Name what the contract needs of an augmentation."""

    @property
    def policy(self) -> Policy:
        """Return the policy's buffers."""

    def draw(self, sizes: Tensor, generator: torch.Generator) -> AugmentDraw:
        """Draw the randomness of a batch."""

    def resolve(
        self,
        draw: AugmentDraw,
        policy: Policy | None = None,
        temperature: float | None = None,
    ) -> AugmentRecord:
        """Resolve a draw under a policy."""

    def augment(self, images: Tensor, record: AugmentRecord) -> Tensor:
        """Augment images by a record."""


class EncoderContract:
    """Test an augmentation; subclass and say how to build it.

    The subclass's name starts with ``Test`` and it overrides ``build``.
    Every check raises AssertionError where the contract is broken, so that
    it can also be called by hand.

    Example:
        >>> class TestMine(EncoderContract):
        ...     def build(self):
        ...         encoder = AugmentationEncoder(composition='image_sum')
        ...         encoder.bind(preprocessor)
        ...         return encoder
    """

    def build(self) -> Encoder:
        """Return the augmentation, ready to augment."""
        raise NotImplementedError

    def test_keeps_shape_and_dtype(self) -> None:
        """Give new tensors of the shape and dtype that came in."""
        encoder = self.build()
        for dtype in (torch.float16, torch.float32, torch.float64):
            images = _images(dtype)
            result = encoder.augment(images, self._open(encoder))
            _check(result.shape == images.shape, 'another shape')
            _check(result.dtype == dtype, f'{dtype} became {result.dtype}')
            _check(bool(result.isfinite().all()), 'not finite')
            _check(not result.equal(images), 'open gates changed nothing')

    def test_closed_gates_are_the_identity(self) -> None:
        """Leave images alone bit for bit where no gate is open."""
        encoder = self.build()
        draw = _select_all(_draw(encoder))
        # Whatever the form of the gate and the policy, this closes it.
        shut = replace(draw, gate_noise=torch.full_like(draw.gate_noise, -1e4))
        none = replace(draw, selected=torch.zeros_like(draw.selected))
        for closed in (shut, none):
            images = _images(torch.float32)
            record = encoder.resolve(closed)
            _check(bool((record.gates == 0).all()), 'a gate is open')
            result = encoder.augment(images, record)
            _check(result.equal(images), 'not the same bit for bit')
            _check(
                result.data_ptr() != images.data_ptr(),
                'the result is the input itself, not a copy',
            )

    def test_replays_a_record(self) -> None:
        """Give the same from the same record, draw, or seed."""
        encoder = self.build()
        images = _images(torch.float32)
        draw = _draw(encoder)
        record = encoder.resolve(draw)
        first = encoder.augment(images, record)
        # Draws in between must not matter: there is no state.
        encoder.augment(images, encoder.resolve(_draw(encoder, seed=9)))
        _check(first.equal(encoder.augment(images, record)), 'record')
        again = encoder.resolve(draw)
        _check(first.equal(encoder.augment(images, again)), 'draw')
        again = encoder.resolve(_draw(encoder))
        _check(first.equal(encoder.augment(images, again)), 'seed')
        other = encoder.resolve(_draw(encoder, seed=9))
        _check(not first.equal(encoder.augment(images, other)), 'all alike')

    def test_leaves_inputs_and_global_randomness_alone(self) -> None:
        """Edit nothing in place; draw from the generator alone."""
        encoder = self.build()
        images = _images(torch.float32)
        kept, state = images.clone(), torch.get_rng_state()
        before = [value.clone() for value in encoder.policy]
        encoder.augment(images, self._open(encoder))
        _check(images.equal(kept), 'the images were edited')
        _check(torch.get_rng_state().equal(state), 'the global RNG moved')
        for old, new in zip(before, encoder.policy, strict=True):
            _check(old.equal(new), 'the policy was edited')

    def test_gradient_agrees_with_finite_differences(self) -> None:
        """Have the right slope in all 25 parameters, gates half open."""
        encoder = self.build()
        images = _images(torch.float64)
        draw = _half_open(_draw(encoder, dtype=torch.float64))
        policy = _random_policy()
        weights = _noise(images.shape, seed=3)

        def value(at: Policy) -> Tensor:
            result = encoder.augment(images, encoder.resolve(draw, at, 1.0))
            return (weights * result).sum()

        leaf = policy.leaf()
        gradient = torch.cat(torch.autograd.grad(value(leaf), [*leaf]))
        flat = torch.cat([*policy])
        slopes = []
        with torch.no_grad():
            for index in range(len(flat)):
                shift = torch.zeros_like(flat)
                shift[index] = _STEP
                up, down = (
                    value(Policy(*moved.split([len(policy.th_p), 11])))
                    for moved in (flat + shift, flat - shift)
                )
                slopes.append((up - down) / (2 * _STEP))
        expected = torch.stack(slopes)
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-5)

    def test_every_policy_parameter_gets_gradient(self) -> None:
        """Let none of the 25 parameters go without, gates open."""
        encoder = self.build()
        draw = _half_open(_draw(encoder))
        leaf = Policy(*(value.float() for value in _random_policy())).leaf()
        images = _images(torch.float32)
        result = encoder.augment(images, encoder.resolve(draw, leaf, 1.0))
        loss = (_noise(images.shape, seed=3).float() * result).sum()
        names = [f'p {name}' for name in OPERATORS]
        names += [f'm {name}' for name in MAGNITUDE_OPERATORS]
        gradient = torch.cat(torch.autograd.grad(loss, [*leaf]))
        _check(bool(gradient.isfinite().all()), 'not finite')
        dead = [
            name
            for name, slope in zip(names, gradient.tolist(), strict=True)
            if slope == 0
        ]
        _check(not dead, f'no gradient for {", ".join(dead)}')

    def test_autocast_changes_nothing(self) -> None:
        """Compute matrices and pixels in float32 under autocast too."""
        encoder = self.build()
        images = _images(torch.float32)
        draw = _select_all(_draw(encoder))
        plain = encoder.resolve(draw)
        expected = encoder.augment(images, plain)
        with torch.autocast('cpu', torch.bfloat16):
            record = encoder.resolve(draw)
            result = encoder.augment(images, record)
        _check(record.matrix.dtype == torch.float32, 'matrix in low precision')
        _check(record.matrix.equal(plain.matrix), 'another matrix')
        _check(result.equal(expected), 'another image')

    def test_images_do_not_see_each_other(self) -> None:
        """Treat a batch like as many batches of one."""
        encoder = self.build()
        images = _images(torch.float64)
        draw = _select_all(_draw(encoder, dtype=torch.float64))
        policy = _random_policy()
        together = encoder.augment(images, encoder.resolve(draw, policy))
        for index in range(len(images)):
            own = torch.tensor([index])
            record = encoder.resolve(draw.index(own), policy)
            alone = encoder.augment(images[own], record)
            torch.testing.assert_close(alone, together[own])

    def test_padding_stays(self) -> None:
        """Touch no pixel outside the valid region."""
        encoder = self.build()
        images = _images(torch.float32)
        result = encoder.augment(images, self._open(encoder))
        for index, (height, width) in enumerate(_SIZES):
            for pad in (
                (index, slice(None), slice(height, None)),
                (index, slice(None), slice(None), slice(width, None)),
            ):
                _check(result[pad].equal(images[pad]), 'padding was touched')

    def test_padding_does_not_matter(self) -> None:
        """Let nothing of the padding into the valid region."""
        encoder = self.build()
        images = _images(torch.float32)
        other = images.clone()
        for index, (height, width) in enumerate(_SIZES):
            other[index, :, height:] = 7.0
            other[index, :, :, width:] = -7.0
        record = self._open(encoder)
        first, second = (encoder.augment(x, record) for x in (images, other))
        for index, (height, width) in enumerate(_SIZES):
            valid = (index, slice(None), slice(height), slice(width))
            torch.testing.assert_close(first[valid], second[valid])

    def _open(self, encoder: Encoder) -> AugmentRecord:
        """Return a record with every operator of every image half open."""
        return encoder.resolve(_half_open(_draw(encoder)), None, 1.0)


def _draw(
    encoder: Encoder, seed: int = 1, dtype: torch.dtype = torch.float32
) -> AugmentDraw:
    generator = torch.Generator().manual_seed(seed)
    return encoder.draw(torch.tensor(_SIZES, dtype=dtype), generator)


def _select_all(draw: AugmentDraw) -> AugmentDraw:
    return replace(draw, selected=torch.ones_like(draw.selected))


def _half_open(draw: AugmentDraw) -> AugmentDraw:
    """Select all and put every gate near one half, at temperature 1."""
    # Wherever the form of the gate starts from: within 0.7 of 0.
    noise = 0.3 * torch.tanh(draw.gate_noise)
    return replace(_select_all(draw), gate_noise=noise)


def _images(dtype: torch.dtype) -> Tensor:
    """Return smooth images of network input, none of it outside of range."""
    images = _noise((len(_SIZES), 3, 4, 5), seed=2).clamp(-1.5, 1.5)
    images = torch.nn.functional.interpolate(
        images, _CANVAS, mode='bicubic', align_corners=False
    )
    return images.to(dtype)


def _noise(shape: tuple[int, ...] | torch.Size, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def _random_policy() -> Policy:
    """Return a policy off the point where everything is one half."""
    th_p = 0.3 * _noise((len(OPERATORS),), seed=4)
    # Matrices small enough that every pixel does not leave the image.
    th_m = 0.5 * _noise((len(MAGNITUDE_OPERATORS),), seed=5)
    th_m[: len(AFFINE_OPERATORS)] -= 1.0
    return Policy(th_p, th_m)


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)
