"""Test what is said of arguments that a class does not take."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from mmtst.utils.arguments import (
    check_init_cfg,
    check_keys,
    checked,
    options_of,
)
from mmtst.utils.errors import ConfigError


class Base:
    def __init__(self, depth: int, name: str | None = None) -> None:
        self.depth, self.name = depth, name


class Inner(Base):
    def __init__(self, width: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width = width


class Open:
    def __init__(self, known: int = 0, **kwargs: Any) -> None:
        self.known, self.kwargs = known, kwargs


class Kinds:
    def __init__(
        self,
        words: Literal['a', 'b'] = 'a',
        counts: Sequence[int] = (),
        weights: Mapping[str, float] | None = None,
        path: str | Path = '',
        anything: Any = None,
    ) -> None:
        del words, counts, weights, path, anything


def call(width: int) -> int:
    return width


@pytest.fixture(scope='module', autouse=True)
def _checked_classes() -> None:
    for module in (Inner, Kinds):
        checked(module, 'model.part')


def test_options_follow_what_is_handed_on():
    options = options_of(Inner)
    assert set(options.named) == {'depth', 'name', 'width'}
    assert options.named['depth'].needed and not options.named['width'].needed
    assert not options.is_open
    assert options_of(Open).is_open


def test_positions_and_names_count_alike():
    made = Inner(2.0, depth=3)
    assert (made.width, made.depth) == (2.0, 3)
    with pytest.raises(ConfigError, match=r'model\.part\.width'):
        Inner('2', depth=3)
    assert pickle.loads(pickle.dumps(made)).depth == 3


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(depth=1, widht=2.0), 'did you mean width'),
        (dict(depth=1, zzz=2.0), 'depth, name, width'),
        ({}, 'Inner needs depth'),
        (dict(depth=True), 'wrong kind .bool.'),
        (dict(depth=None), 'wrong kind .NoneType.'),
        (dict(depth=1, width=10**400), 'wrong kind .int.'),
        (dict(depth=1, name=1), 'a string or None'),
    ],
)
def test_what_is_wrong_is_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        Inner(**arguments)


@pytest.mark.parametrize(
    ('name', 'good', 'bad'),
    [
        ('words', ['a', 'b'], ['c', 1, None, ['a']]),
        ('counts', [[], [1], (1, 2)], ['12', [1.0], ['1'], 1, None, {1: 1}]),
        ('weights', [None, {}, {'a': 1}], [{'a': 'b'}, {1: 1}, [1], 'a']),
        ('path', ['x', Path('x')], [None, 1, ['x']]),
        ('anything', [None, 1, object()], []),
    ],
)
def test_annotations_say_what_is_taken(name, good, bad):
    for value in good:
        Kinds(**{name: value})
    for value in bad:
        with pytest.raises(ConfigError, match=name):
            Kinds(**{name: value})


def test_functions_are_wrapped_and_stay_themselves():
    wrapped = checked(call, 'here')
    assert wrapped(3) == 3 == call(3)
    assert wrapped.__name__ == 'call'
    with pytest.raises(ConfigError, match=r'here\.width'):
        wrapped(width='3')


def test_keys_that_are_no_strings_are_named_too():
    with pytest.raises(ConfigError, match='has no option 3'):
        check_keys('here', [3], ['a'], 'it')


@pytest.mark.parametrize('bad', ['x', [1], {}, dict(type='x'), [dict(a=1)]])
def test_an_initialization_has_to_be_known(bad):
    check_init_cfg('here', None)
    check_init_cfg('here', [dict(type='Kaiming', layer='Conv2d')])
    if bad:
        with pytest.raises(ConfigError, match=r'here\.type'):
            check_init_cfg('here', bad)
