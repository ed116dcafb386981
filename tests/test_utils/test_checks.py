"""Test the checks of single options."""

from __future__ import annotations

from typing import Any

import pytest

from mmtst.utils.checks import check_choice, check_flag, check_number
from mmtst.utils.errors import ConfigError


def refused(check: Any, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        check(*args, **kwargs)
    return str(caught.value)


def test_a_word_outside_the_list_is_refused_with_the_list() -> None:
    message = refused(check_choice, 'a.fill', 'red', ('mean', 'black'))
    assert message.startswith('Unknown fill\n')
    assert 'where:   a.fill' in message
    assert "got:     'red'" in message
    assert 'allowed: mean, black' in message


@pytest.mark.parametrize('value', [None, 1, ['mean'], {'mean': 1}])
def test_what_is_no_word_is_refused(value: Any) -> None:
    message = refused(check_choice, 'fill', value, {'mean': 1, 'black': 2})
    assert 'allowed: mean, black' in message


def test_a_number_is_refused_with_all_that_is_allowed() -> None:
    message = refused(
        check_number,
        'hook.budget',
        2,
        above=0,
        below=1,
        optional=True,
        word='hold',
    )
    assert message.startswith('budget is out of range')
    assert 'where:   hook.budget' in message
    assert 'got:     2' in message
    assert "a finite number over 0, below 1 or 'hold' or None" in message


@pytest.mark.parametrize(
    ('bounds', 'fine', 'wrong'),
    [
        (dict(least=0), (0, 0.5, 9), (-0.1, float('nan'), float('inf'))),
        (dict(above=0), (1e-9, 3), (0, -1)),
        (dict(most=1), (1, -5), (1.001,)),
        (dict(below=1), (0.999, -5), (1,)),
        (dict(whole=True), (3, -3), (3.0, '3', True)),
        (dict(), (0.5,), (None, 'hold', False, [1])),
        (dict(optional=True), (None, 1), ('hold',)),
        (dict(word='hold'), ('hold', 1), (None, 'Hold')),
    ],
)
def test_exactly_the_numbers_within_the_bounds_pass(
    bounds: Any, fine: Any, wrong: Any
) -> None:
    for value in fine:
        assert check_number('x', value, **bounds) is None
    for value in wrong:
        refused(check_number, 'x', value, **bounds)


@pytest.mark.parametrize('value', [None, 0, 1, 'True', []])
def test_only_true_and_false_are_flags(value: Any) -> None:
    message = refused(check_flag, 'a.flag', value)
    assert message.startswith('flag is neither True nor False\n')
    assert 'where:   a.flag' in message
    check_flag('a.flag', True)
    check_flag('a.flag', False)
