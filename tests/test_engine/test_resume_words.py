"""Test how states are compared and refusals worded."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch

from mmtst.engine.resume_words import difference, is_number, misfit

NAN = float('nan')


@pytest.mark.parametrize(
    ('own', 'given', 'words'),
    [
        (1, 2.5, None),
        (1.5, 2, None),
        (1.5, True, 'x is True'),
        (1.5, NAN, 'x is nan'),
        (1.5, '1', "x is '1'"),
        (True, None, None),
        (True, 1, 'x is 1'),
        ('a', 'b', None),
        ('a', 1, 'x is 1'),
        (None, 3, None),
        (None, {}, 'x is {}'),
        ([1, 2], (3, 4), None),
        ([1, 2], [1], 'x has 1 entries in place of 2'),
        ([1, [2]], [1, [NAN]], 'x[1][0] is nan'),
        ({'a': 1}, {'a': 2}, None),
        ({'a': 1}, {}, 'x lacks a'),
        ({'a': 1}, {'a': 1, 'b': 2}, "x has 'b'"),
        ({'a': 1}, [1], 'x is no dictionary'),
        (Counter([2, 3]), {4: 1}, None),
        (Counter([2, 3]), {4: NAN}, 'x holds what is no number'),
        (torch.zeros(2), torch.ones(2), None),
        (torch.zeros(2), torch.ones(3), 'x is tensor'),
        (torch.zeros(2), torch.full((2,), NAN), 'x is tensor'),
        (torch.zeros(2), [0, 0], 'x is [0, 0]'),
        # Of objects nothing is known here.
        (object(), 3, None),
    ],
)
def test_another_kind_is_named(own: Any, given: Any, words: Any) -> None:
    found = difference(own, given, 'x')
    if words is None:
        assert found is None
    else:
        assert str(found).startswith(words)


def test_numbers_are_finite_and_no_switches() -> None:
    assert is_number(3)
    assert not any(map(is_number, (True, NAN, float('inf'), '3', None)))


def test_a_refusal_names_file_and_cure_in_short_lines() -> None:
    class Runner:
        _load_from = 'runs/epoch_3.pth'

    text = str(misfit(Runner, 'it is long', 'meta', ['x' * 50] * 999))
    assert 'meta of runs/epoch_3.pth' in text
    assert 'load_from' in text
    assert 'exact_resume' not in text
    assert max(map(len, text.splitlines())) < 200
    assert 'enabled=False' in str(misfit(Runner, 'it', 'meta', off=True))
