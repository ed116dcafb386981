"""Test the rule between epochs and the warning of a still search."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch

from mmtst.augmentation.base import Policy
from mmtst.engine.search_checks import checked_alrs, warn_of_stillness
from mmtst.engine.search_types import SearchSummary
from mmtst.utils.errors import ConfigError


def test_the_rule_comes_as_numbers_or_not_at_all() -> None:
    assert checked_alrs(dict(threshold=0, factor=0.5)) == (0.0, 0.5)
    assert checked_alrs(None) is None


@pytest.mark.parametrize(
    ('alrs', 'where'),
    [
        (dict(threshold=0.1), 'PolicySearchHook.alrs'),
        (dict(threshold=-1, factor=0.5), 'alrs.threshold'),
        (dict(threshold=0, factor=1), 'alrs.factor'),
        (0.9, 'PolicySearchHook.alrs'),
    ],
)
def test_another_rule_is_refused(alrs: Any, where: str) -> None:
    with pytest.raises(ConfigError, match=where):
        checked_alrs(alrs)


def summary(move: float, updates: int = 3) -> SearchSummary:
    start = Policy(torch.zeros(14), torch.zeros(11))
    end = Policy(torch.zeros(14), torch.zeros(11))
    end.th_p[3] = torch.logit(torch.tensor(0.5 + move))
    return SearchSummary(
        start=start,
        end=end,
        iterations=3,
        updates=updates,
        empty=0,
        nonfinite=3 - updates,
        overflows=0,
        gradients=torch.zeros(updates, 25),
        lr=0.1,
        seconds=1.0,
    )


@pytest.mark.parametrize(
    ('given', 'words'),
    [
        (summary(0.04), 'largest by 0.040'),
        (summary(0.06), ''),
        (summary(0.0, updates=0), 'made no update in 3 steps'),
    ],
)
def test_a_still_search_is_warned_of(caplog, given: Any, words: str) -> None:
    warn_of_stillness(logging.getLogger('stillness'), given)
    assert words in caplog.text
    assert bool(caplog.text) == bool(words)
