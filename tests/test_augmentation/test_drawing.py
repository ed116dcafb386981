from __future__ import annotations

import pytest
import torch

from mmtst.augmentation import (
    AFFINE_OPERATORS,
    COLOR_OPERATORS,
    MAGNITUDE_OPERATORS,
    OPERATORS,
    AugmentationEncoder,
)
from mmtst.augmentation.drawing import select_operators
from mmtst.utils.errors import ConfigError

SIZES = torch.tensor([[24.0, 32.0], [20.0, 32.0], [24.0, 17.0]])


def test_draw_selects_as_many_different_operators_as_asked(generator):
    encoder = AugmentationEncoder(num_operators=5)
    draw = encoder.draw(SIZES.repeat(40, 1), generator)
    assert draw.selected.sum(1).eq(5).all()
    # Each has its turn, about equally often: 120 * 5 / 14 = 43.
    counts = draw.selected.sum(0)
    assert counts.min() > 22
    assert counts.max() < 66


def test_draw_among_candidates(generator):
    encoder = AugmentationEncoder(num_operators=4)
    names = ['Rotate', 'Invert', 'Color', 'Cutout', 'Solarize']
    draw = encoder.draw(SIZES, generator, operators=names)
    chosen = torch.tensor([name in names for name in OPERATORS])
    assert not draw.selected[:, ~chosen].any()
    assert draw.selected.sum(1).eq(4).all()
    draw = encoder.draw(SIZES, generator, operators=names[:2])
    assert draw.selected.sum(1).eq(2).all()


@pytest.mark.parametrize('names', [['Rotate', 'Twist'], []])
def test_draw_refuses_unknown_candidates(names, generator):
    with pytest.raises(ConfigError, match=r'Rotate, ShearX, .*, Cutout'):
        AugmentationEncoder().draw(SIZES, generator, operators=names)


def test_draw_is_per_sample_by_default_and_per_batch_in_paper(generator):
    sizes = SIZES.repeat(4, 1)
    own = AugmentationEncoder(mirror=True).draw(sizes, generator)
    shared = AugmentationEncoder(preset='paper').draw(sizes, generator)
    for name in ('selected', 'gate_noise', 'magnitude_noise', 'cutout_center'):
        values = getattr(own, name)
        assert any(not values[0].equal(value) for value in values[1:])
        values = getattr(shared, name)
        assert all(values[0].equal(value) for value in values[1:])
    # The additional gates and the affine encoders' noise stay per sample.
    affine = len(AFFINE_OPERATORS)
    assert not shared.apply_noise[0].equal(shared.apply_noise[1])
    noise = shared.encoder_noise
    assert not noise[0, :affine].equal(noise[1, :affine])
    assert noise[0, affine:].equal(noise[1, affine:])


def test_draw_moves_the_generator_alike_under_all_options():
    states = []
    for options in (
        dict(),
        dict(preset='paper'),
        dict(preset='official', mirror=True, num_operators=14),
    ):
        generator = torch.Generator().manual_seed(5)
        AugmentationEncoder(**options).draw(SIZES, generator)
        states.append(generator.get_state())
    assert states[0].equal(states[1])
    assert states[0].equal(states[2])


def test_mirror_signs_only_what_has_a_sign(generator):
    sizes = SIZES.repeat(20, 1)
    for network, unsigned in (
        ('quadratic', ('Posterize', 'Solarize')),
        ('official', ('Posterize', 'Solarize')),
        ('paper', COLOR_OPERATORS),
    ):
        encoder = AugmentationEncoder(mirror=True, network=network)
        mirror = encoder.draw(sizes, generator).mirror
        for i, name in enumerate(MAGNITUDE_OPERATORS):
            signs = set(mirror[:, i].tolist())
            assert signs == ({1.0} if name in unsigned else {-1.0, 1.0})
    assert AugmentationEncoder().draw(sizes, generator).mirror.eq(1).all()


@pytest.mark.parametrize('dtype', [torch.int64, torch.float32, torch.float64])
def test_draw_is_of_the_dtype_of_the_sizes(dtype, generator):
    """And holds the same numbers, as far as the dtype shows them."""
    draw = AugmentationEncoder().draw(SIZES.to(dtype), generator)
    again = AugmentationEncoder().draw(SIZES, torch.Generator().manual_seed(0))
    expected = torch.float64 if dtype == torch.float64 else torch.float32
    for name in draw._names():
        value = getattr(draw, name)
        if name == 'selected':
            assert value.equal(again.selected)
            continue
        assert value.dtype == expected
        torch.testing.assert_close(value.float(), getattr(again, name))


def test_selection_takes_the_highest_scores_among_the_candidates():
    scores = torch.linspace(0, 0.9, 14).expand(1, 14)
    selected = select_operators(scores, 2, ('Rotate', 'Color', 'Solarize'))
    names = [OPERATORS[i] for i in selected[0].nonzero().flatten()]
    assert names == ['Solarize', 'Color']
