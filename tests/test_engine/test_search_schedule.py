"""Test when searches come, how long they are, and at what rate."""

from __future__ import annotations

import pytest

from mmtst.engine.search_schedule import (
    SearchSchedule,
    portable_lr,
)
from mmtst.utils.errors import ConfigError


def test_searches_are_numbered_in_time() -> None:
    schedule = SearchSchedule([12, 6], True, None, None)
    assert schedule.at == [6, 12]
    numbers = [schedule.index(time) for time in (5, 6, 7, 12)]
    assert numbers == [None, 0, None, 1]


def test_no_search_at_all_is_allowed() -> None:
    schedule = SearchSchedule([], True, None, None)
    schedule.check_loop(epoch_based=True, max_epochs=1, max_iters=5)
    assert schedule.index(0) is None


@pytest.mark.parametrize(
    ('epochs', 'iterations', 'per_epoch', 'steps'),
    [
        (None, None, 26, 100),
        (None, None, 390, 390),
        (1, None, 26, 26),
        (3, None, 26, 78),
        (None, 1250, 186, 1250),
    ],
)
def test_length(
    epochs: int | None, iterations: int | None, per_epoch: int, steps: int
) -> None:
    schedule = SearchSchedule([0], True, epochs, iterations)
    assert schedule.steps(per_epoch) == steps


def test_rate() -> None:
    # 3.9 / steps: CIFAR-100 has 390 steps at 0.01.
    assert portable_lr(390) == pytest.approx(0.01)
    assert portable_lr(100) == pytest.approx(0.039)
    assert portable_lr(7330) * 7330 == pytest.approx(3.9)
    assert portable_lr(20) == 0.1


@pytest.mark.parametrize(
    ('at', 'by_epoch', 'good'),
    [
        ([11], True, True),
        ([12], True, False),
        ([0, 30], True, False),
        ([119], False, True),
        ([120], False, False),
    ],
)
def test_end_of_training(at: list[int], by_epoch: bool, good: bool) -> None:
    schedule = SearchSchedule(at, by_epoch, None, None)
    loop = {'epoch_based': True, 'max_epochs': 12, 'max_iters': 120}
    if good:
        schedule.check_loop(**loop)
        return
    with pytest.raises(ConfigError) as caught:
        schedule.check_loop(**loop)
    message = str(caught.value)
    assert ('max_epochs=12' if by_epoch else 'max_iters=120') in message
    assert f'[{at[-1]}]' in message
    assert 'PolicySearchHook.at' in message
