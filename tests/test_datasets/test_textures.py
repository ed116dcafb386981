"""Test the painting of surfaces."""

from __future__ import annotations

import numpy as np

from mmtst.datasets.textures import light, texture


def test_texture_has_the_asked_shape_range_and_contrast():
    for seed in range(40):
        rng = np.random.default_rng(seed)
        surface = texture(rng, 30, 50, contrast=0.2)
        assert surface.shape == (30, 50, 3)
        assert surface.dtype == np.float32
        assert surface.min() >= 0
        assert surface.max() <= 1
        spread = surface.max((0, 1)) - surface.min((0, 1))
        assert spread.max() <= 0.2 + 1e-5


def test_texture_has_patterns_of_several_kinds():
    spreads = [
        float(np.ptp(texture(np.random.default_rng(seed), 40, 40)))
        for seed in range(40)
    ]
    assert min(spreads) < 0.4 < max(spreads)


def test_light_keeps_its_input_and_varies():
    surface = texture(np.random.default_rng(0), 40, 60)
    before = surface.copy()
    shots = [light(np.random.default_rng(seed), surface) for seed in range(8)]
    assert np.array_equal(surface, before)
    assert all(shot.shape == (40, 60, 3) for shot in shots)
    assert all(shot.dtype == np.uint8 for shot in shots)
    assert np.ptp([shot.mean() for shot in shots]) > 10


def test_same_generator_state_gives_the_same_picture():
    first, second = (
        light(rng, texture(rng, 20, 20))
        for rng in (np.random.default_rng(7), np.random.default_rng(7))
    )
    assert np.array_equal(first, second)
