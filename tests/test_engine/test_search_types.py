"""Test what searches leave behind."""

from __future__ import annotations

import pytest
import torch

from mmtst.augmentation.base import Policy
from mmtst.engine.search_types import SearchModel, SearchSummary


def test_largest_move_is_of_a_rate_of_either_sign() -> None:
    start = Policy(torch.zeros(14), torch.zeros(11))
    th_p = torch.zeros(14)
    th_p[3], th_p[5] = 1.0, -2.0
    summary = SearchSummary(
        start=start,
        end=Policy(th_p, torch.full((11,), 3.0)),
        iterations=1,
        updates=1,
        empty=0,
        nonfinite=0,
        overflows=0,
        gradients=torch.zeros(1, 25),
        lr=0.1,
        seconds=1.0,
    )
    # sigmoid(0) - sigmoid(-2); magnitudes are no rates.
    assert summary.largest_move == pytest.approx(0.5 - 0.1192029, abs=1e-6)


def test_the_algorithm_has_what_a_search_asks_for() -> None:
    from mmtst.models.algorithms.tst import TSTDistill

    wanted = {
        name
        for name in vars(SearchModel)
        if not name.startswith('_') and callable(getattr(SearchModel, name))
    }
    assert len(wanted) == 4
    assert wanted <= set(dir(TSTDistill))
    assert 'augmentation' in TSTDistill.__annotations__
