"""Test the mean of a step over ranks."""

from __future__ import annotations

import pytest
import torch

from mmtst.engine import search_step
from mmtst.engine.search_step import StepOutcome
from mmtst.engine.search_types import GUARD, PARTS


def _outcome(number: float) -> StepOutcome:
    return StepOutcome(
        gradient=torch.arange(25, dtype=torch.float64) * number,
        objective=number,
        parts={name: number + i for i, name in enumerate(PARTS)},
        guard={name: number - i for i, name in enumerate(GUARD)},
        positives=10 * number,
        gaps=2 * number,
        compared=8 * number,
        valid=1.0,
    )


@pytest.fixture
def reduce_with(monkeypatch):
    """Return a function that reduces an outcome with another rank's."""

    def message_of(outcome: StepOutcome) -> torch.Tensor:
        sent: list[torch.Tensor] = []
        monkeypatch.setattr(
            search_step, 'all_reduce', lambda m, op: sent.append(m.clone())
        )
        outcome.reduced()
        return sent[0]

    def reduce(one: StepOutcome, other: StepOutcome) -> StepOutcome:
        message = message_of(other)
        monkeypatch.setattr(
            search_step, 'all_reduce', lambda m, op: m.add_(message)
        )
        return one.reduced()

    return reduce


def test_alone_nothing_changes() -> None:
    assert str(_outcome(3.0).reduced()) == str(_outcome(3.0))


def test_values_are_averaged_and_counts_summed(reduce_with) -> None:
    both = reduce_with(_outcome(1.0), _outcome(4.0))
    middle = _outcome(2.5)
    assert torch.equal(both.gradient, middle.gradient)
    assert both.objective == 2.5
    assert both.parts == pytest.approx(middle.parts)
    assert both.guard == pytest.approx(middle.guard)
    assert (both.positives, both.gaps, both.compared) == (50, 10, 40)
    assert (both.valid, both.bad, both.overflow) == (2, 0, 0)


def test_an_idle_rank_does_not_dilute(reduce_with) -> None:
    both = reduce_with(_outcome(2.0), StepOutcome())
    assert str(both) == str(_outcome(2.0))


@pytest.mark.parametrize('flag', ['bad', 'overflow'])
def test_one_ranks_trouble_is_known_to_all(reduce_with, flag: str) -> None:
    both = reduce_with(_outcome(2.0), StepOutcome(**{flag: 1.0}))
    assert getattr(both, flag) == 1
    assert both.valid == 1


def test_no_rank_with_objects(reduce_with) -> None:
    both = reduce_with(StepOutcome(), StepOutcome())
    assert both.valid == 0
    assert bool((both.gradient == 0).all())
