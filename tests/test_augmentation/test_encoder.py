from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from mmengine.model import ImgDataPreprocessor

from mmtst.augmentation import (
    MAGNITUDE_OPERATORS,
    OPERATORS,
    AugmentationEncoder,
    Policy,
)
from mmtst.augmentation.presets import PRESETS
from mmtst.registry import MODELS
from mmtst.testing.encoder_contract import EncoderContract

SIZES = torch.tensor([[24.0, 32.0], [20.0, 32.0], [24.0, 17.0]])


def build(preprocessor=None, **options) -> AugmentationEncoder:
    encoder = AugmentationEncoder(**options)
    if preprocessor is None:
        preprocessor = ImgDataPreprocessor(
            mean=[123.675, 116.28, 103.53],
            std=[58.395, 57.12, 57.375],
            bgr_to_rgb=True,
        )
    encoder.bind(preprocessor)
    return encoder


class TestDefault(EncoderContract):
    def build(self):
        return build()


class TestImageSum(EncoderContract):
    def build(self):
        return build(composition='image_sum')


class TestPaper(EncoderContract):
    def build(self):
        return build(preset='paper')


class TestOfficial(EncoderContract):
    def build(self):
        return build(preset='official')


class TestMirroredBlackCorrected(EncoderContract):
    def build(self):
        return build(mirror=True, fill='black', aspect='corrected')


class TestBgrUnscaled(EncoderContract):
    """Caffe-style input: BGR with a mean and a std of 1."""

    def build(self):
        space = ImgDataPreprocessor(
            mean=[103.53, 116.28, 123.675], std=[57.0, 57.0, 57.0]
        )
        return build(space)


class _Cut(AugmentationEncoder):
    def resolve(self, draw, policy=None, temperature=None):
        record = super().resolve(draw, policy, temperature)
        matrix = record.matrix.detach()
        return replace(record, matrix=matrix)


class _Turned(AugmentationEncoder):
    def resolve(self, draw, policy=None, temperature=None):
        record = super().resolve(draw, policy, temperature)
        gates = 2 * record.gates.detach() - record.gates
        return replace(record, gates=gates)


class _Dead(AugmentationEncoder):
    def resolve(self, draw, policy=None, temperature=None):
        record = super().resolve(draw, policy, temperature)
        if not record.magnitudes.requires_grad:
            return record
        magnitudes = record.magnitudes.detach() + 0 * record.magnitudes
        return replace(record, magnitudes=magnitudes)


@pytest.mark.parametrize('broken', [_Cut, _Turned, _Dead])
def test_the_contract_notices_a_gradient_gone_wrong(broken, preprocessor):
    """Cut, of the wrong sign, or zero: each must fail the comparison."""

    class Contract(EncoderContract):
        def build(self):
            encoder = broken()
            encoder.bind(preprocessor)
            return encoder

    with pytest.raises(AssertionError, match='close'):
        Contract().test_gradient_agrees_with_finite_differences()
    if broken is _Dead:
        with pytest.raises(AssertionError, match='no gradient for m Post'):
            Contract().test_every_policy_parameter_gets_gradient()


def test_builds_from_the_registry():
    encoder = MODELS.build(dict(type='mmtst.AugmentationEncoder'))
    assert isinstance(encoder, AugmentationEncoder)
    assert not list(encoder.parameters())


@pytest.mark.parametrize('preset', list(PRESETS))
def test_preset_sets_what_is_not_given(preset):
    encoder = AugmentationEncoder(preset=preset)
    for name, value in vars(PRESETS[preset]).items():
        assert getattr(encoder, name) == value
    other = AugmentationEncoder(
        preset=preset, gate='logit', apply_prob=0.7, per_sample=False
    )
    assert other.gate == 'logit'
    assert other.apply_prob == 0.7
    assert other.per_sample is False
    assert other.network == PRESETS[preset].network


def test_resolve_without_a_policy_takes_the_buffers_detached(generator):
    encoder = AugmentationEncoder()
    encoder.write_policy(Policy(torch.full((14,), 2.0), torch.ones(11)))
    draw = encoder.draw(SIZES, generator)
    record = encoder.resolve(draw)
    assert not record.gates.requires_grad
    same = encoder.resolve(draw, Policy(*encoder.policy))
    assert record.gates.equal(same.gates)
    assert record.matrix.equal(same.matrix)


def test_unbound_encoder_says_to_bind(generator):
    encoder = AugmentationEncoder()
    record = encoder.resolve(encoder.draw(SIZES, generator))
    with pytest.raises(RuntimeError, match=r'bind\(data_preprocessor\)'):
        encoder.augment(torch.zeros(3, 3, 24, 32), record)


@pytest.mark.parametrize(
    'shape', [(3, 1, 24, 32), (2, 3, 24, 32), (3, 24, 32)]
)
def test_augment_refuses_other_shapes(shape, generator):
    encoder = build()
    record = encoder.resolve(encoder.draw(SIZES, generator))
    with pytest.raises(ValueError, match=r'\(3, 3, H, W\)'):
        encoder.augment(torch.zeros(shape), record)


def test_write_policy_clamps_and_copies():
    encoder = AugmentationEncoder(clamp_theta=2.0)
    given = Policy(torch.linspace(-5, 5, 14), torch.linspace(-1, 1, 11))
    leaf = given.leaf()
    encoder.write_policy(leaf)
    assert encoder.th_p.equal(given.th_p.clamp(-2, 2))
    assert encoder.th_m.equal(given.th_m)
    assert not encoder.th_p.requires_grad
    with torch.no_grad():
        leaf.th_m.zero_()
    assert encoder.th_m.equal(given.th_m)


@pytest.mark.parametrize('bad', [float('nan'), float('inf')])
def test_write_policy_refuses_what_is_not_finite(bad):
    encoder = AugmentationEncoder()
    encoder.write_policy(Policy(torch.ones(14), torch.ones(11)))
    wrong = Policy(torch.zeros(14), torch.zeros(11))
    wrong.th_m[3] = bad
    with pytest.raises(ValueError, match='th_m must be finite'):
        encoder.write_policy(wrong)
    assert encoder.th_p.eq(1).all()
    with pytest.raises(ValueError, match=r'th_p must have the shape \(14,\)'):
        encoder.write_policy(Policy(torch.zeros(11), torch.zeros(11)))


def test_state_dict_holds_policy_and_prior_and_nothing_of_binding():
    encoder = build()
    keys = set(encoder.state_dict())
    assert {'th_p', 'th_m', 'meta_encoders.Color.coefficients'} <= keys
    assert len(keys) == 2 + len(MAGNITUDE_OPERATORS)
    encoder.write_policy(Policy(torch.ones(14), -torch.ones(11)))
    other = AugmentationEncoder()
    other.load_state_dict(encoder.state_dict())
    assert other.policy.th_p.eq(1).all()
    assert other.policy.th_m.eq(-1).all()


def test_image_without_open_affine_gate_is_not_resampled(generator):
    """Invert alone: exact, where a resampling would blur by rounding."""
    encoder = build()
    images = torch.randn(3, 3, 24, 32)
    sizes = torch.tensor([[24.0, 32.0]] * 3)
    draw = encoder.draw(sizes, generator)
    selected = torch.zeros(3, 14, dtype=torch.bool)
    selected[0, OPERATORS.index('Rotate')] = True
    noise = torch.full((3, 14), 1e4)
    record = encoder.resolve(
        replace(draw, selected=selected, gate_noise=noise)
    )
    result = encoder.augment(images, record)
    assert not result[0].equal(images[0])
    assert result[1:].equal(images[1:])


@pytest.mark.parametrize('composition', ['matrix_sum', 'image_sum'])
def test_padding_of_all_images_changes_nothing(composition, generator):
    """Neither the images nor the policy's gradient, and it stays itself."""
    encoder = build(composition=composition, num_operators=14)
    sizes = torch.tensor([[21.0, 32.0], [24.0, 30.0]])
    images = torch.randn(2, 3, 24, 32, generator=generator)
    padded = torch.full((2, 3, 32, 40), 7.0)
    padded[..., :24, :32] = images
    draw = encoder.draw(sizes, generator)
    results, gradients = [], []
    for given in (images, padded):
        policy = encoder.policy.leaf()
        result = encoder.augment(given, encoder.resolve(draw, policy))
        inside = result[..., :24, :32]
        gradients.append(
            torch.autograd.grad(inside.square().sum(), list(policy))
        )
        results.append(inside.detach())
    assert not results[0].equal(images)
    assert results[0].equal(results[1])
    assert bool((result[..., 24:, :] == 7).all())
    assert bool((result[..., 32:] == 7).all())
    for plain, other in zip(*gradients, strict=True):
        assert bool(plain.any())
        torch.testing.assert_close(plain, other)


def test_forward_draws_resolves_and_augments(generator):
    encoder = build()
    images = torch.randn(3, 3, 24, 32)
    result, record = encoder(images, SIZES, generator)
    assert result.equal(encoder.augment(images, record))
    again = encoder.draw(SIZES, torch.Generator().manual_seed(0))
    assert record.gates.equal(encoder.resolve(again).gates)
