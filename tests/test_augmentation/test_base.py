from __future__ import annotations

import pytest
import torch

from mmtst.augmentation import AugmentationEncoder
from mmtst.augmentation.base import (
    AFFINE_OPERATORS,
    COLOR_OPERATORS,
    FIXED_OPERATORS,
    MAGNITUDE_OPERATORS,
    OPERATORS,
    AugmentDraw,
    Policy,
)


def draw(batch: int, seed: int) -> AugmentDraw:
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.tensor([[10.0 + i, 20.0] for i in range(batch)])
    return AugmentationEncoder(mirror=True).draw(sizes, generator)


def fields(value: AugmentDraw) -> dict[str, torch.Tensor]:
    return {name: getattr(value, name) for name in value._names()}


def test_operators_are_the_fourteen_of_the_paper():
    assert OPERATORS == AFFINE_OPERATORS + COLOR_OPERATORS + FIXED_OPERATORS
    assert OPERATORS[:11] == MAGNITUDE_OPERATORS
    assert len(set(OPERATORS)) == 14


def test_policy_passes_through_the_sigmoid():
    policy = Policy(torch.full((14,), 0.0), torch.full((11,), 3.0).log())
    assert policy.probabilities.eq(0.5).all()
    torch.testing.assert_close(policy.magnitudes, torch.full((11,), 0.75))


def test_leaf_and_detached_policies_share_nothing_with_the_source():
    policy = Policy(torch.zeros(14), torch.zeros(11))
    leaf, copy = policy.leaf(), policy.detach()
    assert all(v.is_leaf and v.requires_grad for v in leaf)
    assert not any(v.requires_grad for v in leaf.detach())
    with torch.no_grad():
        leaf.th_p.fill_(1)
        copy.th_m.fill_(1)
    assert policy.th_p.eq(0).all()
    assert policy.th_m.eq(0).all()


@pytest.mark.parametrize(
    'keep', [torch.tensor([2, 0]), torch.tensor([True, False, True])]
)
def test_index_takes_every_field_of_the_images_named(keep):
    whole = draw(3, 0)
    part = whole.index(keep)
    assert len(part) == 2
    for name, value in fields(whole).items():
        assert getattr(part, name).equal(value[keep]), name


def test_where_takes_every_field_from_one_or_the_other():
    mask = torch.tensor([True, False, True])
    mine, theirs = draw(3, 0), draw(3, 1).with_shrink(torch.zeros(3))
    mixed = mine.where(mask, theirs)
    for name, value in fields(mixed).items():
        assert value[0].equal(getattr(mine, name)[0]), name
        assert value[1].equal(getattr(theirs, name)[1]), name
        assert value[2].equal(getattr(mine, name)[2]), name


def test_with_shrink_changes_that_alone():
    whole = draw(2, 0)
    shrunk = whole.with_shrink(torch.tensor([0.5, 0.0]))
    assert shrunk.shrink.tolist() == [0.5, 0]
    assert whole.shrink.tolist() == [1, 1]
    for name, value in fields(whole).items():
        if name != 'shrink':
            assert getattr(shrunk, name) is value
