"""What takes the place of the search is what its name says."""

from __future__ import annotations

import pytest
import torch
from mmdet.models import DetDataPreprocessor
from sceptics import FlippedObjective, TiedEncoder

from mmtst.augmentation import AugmentationEncoder
from mmtst.models.objectives import GapObjective
from mmtst.testing.toys import toy


def test_a_tied_policy_moves_as_one():
    """Its gradient is the mean of what every operator's own would be."""
    gradients = []
    for kind in (AugmentationEncoder, TiedEncoder):
        encoder = kind(num_operators=14, temperature=1.0)
        encoder.bind(DetDataPreprocessor(mean=[120] * 3, std=[60] * 3))
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(4, 3, 16, 16, generator=generator)
        draw = encoder.draw(torch.full((4, 2), 16.0), generator)
        policy = encoder.policy.leaf()
        # As the object guard calls it.
        record = encoder.resolve(draw, policy, 1.0)
        total = encoder.augment(images, record).square().mean()
        gradients.append(torch.autograd.grad(total, list(policy)))
    for own, tied in zip(*gradients, strict=True):
        assert bool(own.std() > 0)
        expected = own.mean().expand_as(tied)
        torch.testing.assert_close(tied, expected, rtol=1e-3, atol=1e-6)


def test_a_flipped_objective_is_the_negative():
    teacher, student = toy([1, 1, 0]), toy([1, 0, 0])
    inputs = torch.rand(2, 3, 4, 4).double()
    expected = GapObjective()(teacher, student, inputs, [None] * 2)
    found = FlippedObjective()(teacher, student, inputs, [None] * 2)
    assert float(expected.total) != 0
    assert float(found.total) == pytest.approx(-float(expected.total))
    assert found.gap_rate == expected.gap_rate
