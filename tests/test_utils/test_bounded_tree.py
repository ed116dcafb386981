"""Check that trees are told from what never ends."""

from __future__ import annotations

from typing import Any

import pytest

from mmtst.utils.bounded_tree import MOST_DEPTH, BoundError, check_tree


class Holder:
    def __init__(self, held: Any) -> None:
        self.held = held


class Table(dict[Any, Any]):
    pass


def test_trees_may_share_and_nest_a_little() -> None:
    shared = list(range(1000))
    check_tree([shared] * 900)
    check_tree({'a': shared, 'b': (shared, {'c': shared})})
    deep: Any = None
    for _ in range(MOST_DEPTH):
        deep = [deep]
    check_tree(deep)
    with pytest.raises(BoundError, match='deeper than'):
        check_tree([deep])
    with pytest.raises(BoundError, match='over and over'):
        check_tree([[shared] * 1000] * 1000)


def test_what_holds_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    table: dict[str, Any] = {}
    table['a'] = [(table,)]
    holder = Holder(None)
    holder.held = {'a': holder}
    attribute = Table()
    attribute.own = [attribute]
    for content in (loop, table, holder, attribute):
        with pytest.raises(BoundError, match='contains itself'):
            check_tree({'x': [1, content]})


def test_what_holds_another_twice_ends() -> None:
    for join in (
        lambda x: (x, x),
        lambda x: [x, x],
        lambda x: {'a': x, 'b': x},
        lambda x: Holder([x, x]),
    ):
        content: Any = [1]
        for _ in range(40):
            content = join(content)
        with pytest.raises(BoundError, match='over and over'):
            check_tree(content)


def test_any_value_is_a_tree() -> None:
    for value in (None, 1, 'text', print, int, Holder, object(), {1, 2}):
        check_tree(value)
