"""Test that what cannot be resumed exactly is refused with the cure."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from mmengine.hooks import CheckpointHook, EarlyStoppingHook
from mmengine.optim import ReduceOnPlateauParamScheduler

from mmtst.engine.exactness import (
    check_checkpoints,
    check_gathered,
    check_loop,
    check_schedulers,
)
from mmtst.utils.errors import ConfigError


def wrapper(counts: int = 1, done: int = 0, end: int = 100) -> Any:
    return SimpleNamespace(
        _accumulative_counts=counts, _inner_count=done, _max_counts=end
    )


def runner_of(*hooks: Any, counts: int = 1, **more: Any) -> Any:
    loop = SimpleNamespace(dataloader=range(6))
    given = dict(
        hooks=hooks,
        train_loop=loop,
        optim_wrapper=wrapper(counts),
        param_schedulers=[],
    )
    return SimpleNamespace(**{**given, **more})


@pytest.mark.parametrize(
    ('options', 'epoch_based', 'counts', 'words'),
    [
        (dict(by_epoch=False), True, 1, 'within an epoch'),
        (dict(by_epoch=True), False, 1, 'saved before its end'),
        (dict(save_optimizer=False), True, 1, 'save_optimizer'),
        (dict(save_param_scheduler=False), True, 1, 'save_param_scheduler'),
        (dict(), True, 4, 'a divisor of 6'),
        (dict(by_epoch=False), False, 2, 'a divisor of 1'),
    ],
)
def test_checkpoints_that_do_not_hold_all(
    options: dict[str, Any], epoch_based: bool, counts: int, words: str
) -> None:
    hook = CheckpointHook(interval=1, **options)
    with pytest.raises(ConfigError, match=words) as caught:
        check_checkpoints(runner_of(hook, counts=counts), epoch_based)
    assert 'exact_resume=dict(enabled=False)' in str(caught.value)


def test_checkpoints_that_do() -> None:
    runner = runner_of(CheckpointHook(interval=2), counts=4)
    assert check_checkpoints(runner, True) is None
    none = runner_of(CheckpointHook(interval=-1, by_epoch=False), counts=4)
    assert check_checkpoints(none, True) is None


@pytest.mark.parametrize(
    ('counts', 'done', 'refused'),
    [(4, 8, False), (4, 10, True), (4, 99, True), (4, 100, False)],
)
def test_gathered_gradients_are_not_lost(
    counts: int, done: int, refused: bool
) -> None:
    given = wrapper(counts, done, end=100)
    if refused:
        with pytest.raises(ConfigError, match=f'a divisor of {done}'):
            check_gathered(given)
    else:
        assert check_gathered(given) is None


def test_the_end_counts_whatever_it_divides() -> None:
    assert check_gathered(wrapper(4, 99, end=99)) is None


def test_nothing_may_follow_validations() -> None:
    plateau = object.__new__(ReduceOnPlateauParamScheduler)
    stopping = EarlyStoppingHook(monitor='coco/bbox_mAP')
    for runner in (
        runner_of(param_schedulers=[plateau]),
        runner_of(param_schedulers={'a': [plateau]}),
        runner_of(stopping),
    ):
        with pytest.raises(ConfigError, match='follows validations'):
            check_schedulers(runner)
    assert check_schedulers(runner_of()) is None


def test_unknown_loops_are_refused() -> None:
    with pytest.raises(ConfigError, match='train_cfg.type'):
        check_loop(object())
