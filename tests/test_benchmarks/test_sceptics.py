"""What takes the place of the search is what its name says."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from mmdet.models import DetDataPreprocessor
from sceptics import FlippedObjective, RandomSearch, TiedEncoder

from mmtst.augmentation import AugmentationEncoder
from mmtst.engine.search_types import SearchOptions
from mmtst.models.objectives import GapObjective
from mmtst.testing.toys import toy
from mmtst.utils.errors import ConfigError


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


class Wished(torch.nn.Module):
    """Want all rates to be 0.9, and remember what was tried."""

    def __init__(self):
        super().__init__()
        self.augmentation = AugmentationEncoder()
        self.tried = []

    def prepare_search_batch(self, batch):
        return batch, [None] * len(batch)

    def draw_views(self, inputs, samples, policy, generator):
        return None, None

    def search_objective(self, inputs, samples, policy, draw):
        total = (policy.probabilities - 0.9).square().mean()
        self.tried.append((float(total), policy))
        return SimpleNamespace(total=total)


def search_at_random(seed=0, **options):
    model = Wished()
    given = {'iterations': 80, 'steps_per_epoch': 80, 'lr': 0.1, **options}
    search = RandomSearch(
        model,
        SearchOptions(**given),
        seed=seed,
        autocast=nullcontext,
        logger=logging.getLogger('test_sceptics'),
        on_log=lambda entry: None,
    )
    return search.run(iter([torch.zeros(2, 3, 4, 4)] * 8)), model


def test_a_random_search_keeps_the_best_of_its_trials():
    summary, model = search_at_random()
    # As many evaluations as a search has forward and backward passes.
    assert len(model.tried) == 2 * 80
    assert summary.iterations == 20
    lowest, best = min(model.tried, key=lambda trial: trial[0])
    first, start = model.tried[0]
    assert start.th_p.equal(torch.zeros(14))
    assert lowest < first
    assert model.augmentation.policy.th_p.equal(best.th_p)
    assert summary.end.th_m.equal(best.th_m)
    again, _ = search_at_random()
    other, _ = search_at_random(seed=1)
    assert again.end.th_p.equal(summary.end.th_p)
    assert not other.end.th_p.equal(summary.end.th_p)


def test_a_random_search_refuses_what_it_does_not_know():
    with pytest.raises(ConfigError, match='budget'):
        search_at_random(budget='hold')
