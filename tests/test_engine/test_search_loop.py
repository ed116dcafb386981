"""Test the steps of a search against SGD written out."""

from __future__ import annotations

import logging
import math
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch

from mmtst.engine import search_loop, search_step
from mmtst.engine.search_loop import PolicySearch
from mmtst.engine.search_types import PARTS, SearchOptions, SearchSummary

TARGET = 1.5


def _options(**options: Any) -> SearchOptions:
    given = {'iterations': 5, 'steps_per_epoch': 5, 'lr': 0.5, **options}
    return SearchOptions(**given)


def _run(
    model: Any, options: SearchOptions, seed: int = 3
) -> tuple[SearchSummary, list[dict[str, Any]], PolicySearch]:
    entries: list[dict[str, Any]] = []
    search = PolicySearch(
        model,
        options,
        seed=seed,
        autocast=nullcontext,
        logger=logging.getLogger('test_search_loop'),
        on_log=entries.append,
    )
    batch = {'inputs': [torch.zeros(2)] * 3, 'data_samples': [0.0] * 3}
    summary = search.run(iter([batch] * options.iterations))
    return summary, entries, search


def _theta(policy: Any) -> torch.Tensor:
    return torch.cat(list(policy)).double()


@pytest.mark.parametrize('clip', [None, 0.1])
def test_is_sgd_with_momentum_clipped_over_all_parameters(
    make_model, clip: float | None
) -> None:
    model = make_model(noise=0.0)
    summary, _, _ = _run(model, _options(clip_grad=clip, momentum=0.9))
    theta = torch.zeros(25, dtype=torch.float64)
    velocity = torch.zeros(25, dtype=torch.float64)
    for step in range(5):
        used = _theta(model.evaluations[step].policy)
        torch.testing.assert_close(used, theta, atol=1e-5, rtol=0)
        gradient = 2 * (theta - TARGET) / 25
        assert torch.allclose(summary.gradients[step], gradient, atol=1e-6)
        if clip is not None:
            gradient = gradient * min(1.0, clip / float(gradient.norm()))
        velocity = 0.9 * velocity + gradient
        theta = theta - 0.5 * velocity
    torch.testing.assert_close(_theta(summary.end), theta, atol=1e-5, rtol=0)
    assert torch.equal(summary.end.th_p, model.augmentation.th_p)
    assert summary.updates == summary.iterations == 5


def test_the_clamp_of_the_encoder_holds_the_leaves_too(make_model) -> None:
    model = make_model(noise=0.0)
    _run(model, _options(lr=1e3, clip_grad=None, momentum=0.0))
    used = [_theta(each.policy) for each in model.evaluations]
    assert all(float(theta.abs().max()) <= 3 for theta in used)
    # From +3 the gradient leads down again: leaves that had gone on beyond
    # the clamp could not follow it at once.
    assert bool((used[1] == 3).all())
    assert bool((used[2] == -3).all())


def test_lower_rate_after_an_epoch_that_brought_little(make_model) -> None:
    model = make_model(noise=0.0)
    options = _options(
        iterations=8, steps_per_epoch=2, lr=1e-6, alrs=(0.02, 0.5)
    )
    summary, entries, _ = _run(model, options)
    # Nothing to compare after the first epoch, none to lower for after the
    # fourth: two of three in between.
    assert summary.lr == pytest.approx(1e-6 / 4)
    assert entries[-1]['lr'] == summary.lr
    options = _options(iterations=8, steps_per_epoch=2, lr=1e-6)
    assert _run(make_model(), options)[0].lr == pytest.approx(1e-6)


def test_rate_stays_where_an_epoch_brings_much(make_model) -> None:
    model = make_model(noise=0.0)
    options = _options(
        iterations=8, steps_per_epoch=2, lr=0.5, alrs=(0.02, 0.5)
    )
    assert _run(model, options)[0].lr == 0.5


def test_draws_depend_on_seed_step_and_rank(make_model, monkeypatch) -> None:
    def draws(seed: int, rank: int) -> list[tuple[Any, ...]]:
        monkeypatch.setattr(search_loop, 'get_rank', lambda: rank)
        model = make_model()
        _run(model, _options(), seed)
        return [(*each.draw, each.global_draw) for each in model.evaluations]

    runs = [draws(1, 0), draws(2, 0), draws(1, 1)]
    assert draws(1, 0) == runs[0]
    assert len({each for run in runs for each in run}) == 15


def test_what_the_preprocessor_draws_does_not_hang_on_what_was_before(
    make_model, monkeypatch
) -> None:
    def drawn(before: int, seed: int) -> list[float]:
        torch.manual_seed(before)
        model = make_model()
        numbers: list[float] = []
        prepare = model.prepare_search_batch

        def mixing(data: Any) -> Any:
            numbers.append(float(torch.rand(())) + float(np.random.rand()))
            return prepare(data)

        monkeypatch.setattr(model, 'prepare_search_batch', mixing)
        _run(model, _options(), seed)
        return numbers

    first = drawn(before=1, seed=3)
    assert drawn(before=2, seed=3) == first
    assert len({*first, *drawn(before=1, seed=4)}) == 10


def test_ranks_are_averaged_in_one_message(make_model, monkeypatch) -> None:
    sent: list[torch.Tensor] = []

    def with_a_twin(message: torch.Tensor, op: str) -> None:
        assert op == 'sum'
        sent.append(message.clone())
        # A second rank with gradient and objective three times as large.
        twin = 3 * message
        twin[-6:] = message[-6:]
        message += twin

    monkeypatch.setattr(search_step, 'all_reduce', with_a_twin)
    options = _options(iterations=2, log_interval=1, clip_grad=None)
    summary, entries, _ = _run(make_model(noise=0.0), options)
    assert len(sent) == 2
    alone = 2 * (0 - TARGET) / 25
    expected = torch.full((25,), 2 * alone, dtype=torch.float64)
    assert torch.allclose(summary.gradients[0], expected)
    assert entries[0]['objective'] == pytest.approx(2 * TARGET**2)
    assert entries[0]['positives'] == 20
    assert entries[0]['gap_rate'] == pytest.approx(0.25)


def test_a_step_without_objects_moves_nothing(make_model) -> None:
    model = make_model(noise=0.0, empty=(0,))
    summary, entries, _ = _run(model, _options(iterations=2, log_interval=1))
    assert summary.empty == 1
    assert summary.updates == 1
    assert 'objective' not in entries[0]
    assert entries[1]['prob'] == entries[0]['prob'] != entries[2]['prob']


def test_one_ranks_nan_holds_all_ranks(make_model, monkeypatch) -> None:
    def other_rank_is_bad(message: torch.Tensor, op: str) -> None:
        # The last numbers: ..., valid, bad, overflow.
        message[-2] += 1

    monkeypatch.setattr(search_step, 'all_reduce', other_rank_is_bad)
    model = make_model()
    with pytest.raises(RuntimeError, match='not finite 3 times'):
        _run(model, _options())
    assert bool((_theta(model.augmentation.policy) == 0).all())


def test_infinite_gradients_count_as_bad_in_full_precision(
    make_model, monkeypatch
) -> None:
    monkeypatch.setattr(
        PolicySearch, '_gradient', lambda *_: torch.full((25,), math.inf)
    )
    with pytest.raises(RuntimeError, match='not finite'):
        _run(make_model(), _options())


def test_overflow_under_fp16_halves_the_scale(make_model, monkeypatch) -> None:
    original = PolicySearch._gradient

    def overflowing(self: PolicySearch, total: torch.Tensor) -> torch.Tensor:
        gradient = original(self, total)
        return gradient * (math.inf if self.loss_scale > 2**14 else 1.0)

    monkeypatch.setattr(PolicySearch, '_gradient', overflowing)
    summary, _, search = _run(make_model(), _options(loss_scale=2.0**16))
    assert summary.overflows == 2
    assert summary.updates == 3
    assert summary.nonfinite == 0
    assert search.loss_scale == 2**14


def test_the_scale_does_not_change_the_gradient(make_model) -> None:
    one, _, _ = _run(make_model(), _options())
    two, _, _ = _run(make_model(), _options(loss_scale=2.0**10))
    assert torch.allclose(one.gradients, two.gradients)


def test_an_objective_without_graph_is_an_error(
    make_model, monkeypatch
) -> None:
    model = make_model()
    original = model.search_objective

    @torch.no_grad()
    def detached(*args: Any) -> Any:
        return original(*args)

    monkeypatch.setattr(model, 'search_objective', detached)
    monkeypatch.setattr(PolicySearch, '_log_part_gradients', lambda *_: None)
    with pytest.raises(RuntimeError, match='does not depend on the policy'):
        _run(model, _options())


def test_parameters_that_take_no_part_stay(make_model, monkeypatch) -> None:
    model = make_model(noise=0.0)
    original = model.search_objective

    def rates_only(inputs, samples, policy, draw) -> Any:
        fixed = policy._replace(th_m=torch.zeros(11))
        return original(inputs, samples, fixed, draw)

    monkeypatch.setattr(model, 'search_objective', rates_only)
    summary, _, _ = _run(model, _options())
    assert bool((summary.end.th_m == 0).all())
    assert bool((summary.end.th_p > 0).all())


def test_budget_is_held_from_the_first_step(make_model) -> None:
    for budget, rate in (('hold', 0.5), (0.2, 0.2)):
        model = make_model()
        summary, _, _ = _run(model, _options(budget=budget))
        for each in model.evaluations:
            mean = float(each.policy.probabilities.mean())
            assert mean == pytest.approx(rate, abs=1e-4)
        # Nothing of the gradient goes into changing the mean rate.
        probabilities = model.evaluations[0].policy.probabilities.double()
        normal = probabilities * (1 - probabilities)
        along = summary.gradients[0][:14] @ normal
        assert abs(float(along)) < 1e-6
        assert float(summary.end.magnitudes.mean()) > 0.5


def test_entries_hold_what_was_measured_at_their_policy(make_model) -> None:
    model = make_model(noise=0.0)
    options = _options(iterations=7, log_interval=3)
    _, entries, _ = _run(model, options)
    assert [entry['step'] for entry in entries] == [0, 3, 6, 7]
    for entry in entries[:-1]:
        used = model.evaluations[entry['step']].policy
        assert entry['prob']['Rotate'] == float(used.probabilities[0])
        objective = float((_theta(used) - TARGET).square().mean())
        assert entry['objective'] == pytest.approx(objective, rel=1e-5)
        assert set(entry['parts']) == set(PARTS)
        assert entry['objects_kept'] == pytest.approx(0.9)
        norm = float((2 * (_theta(used) - TARGET) / 25).norm())
        assert entry['grad_norm'] == pytest.approx(norm, rel=1e-5)
    assert entries[-1]['final'] is True
    assert 'objective' not in entries[-1]


def test_first_batch_logs_the_parts_gradients(make_model, caplog) -> None:
    with caplog.at_level(logging.INFO, logger='test_search_loop'):
        _run(make_model(noise=0.0), _options())
    lines = [m for m in caplog.messages if 'gradient by part' in m]
    assert len(lines) == 1
    # ||2 (0 - 1.5) / 25|| over 25 components.
    assert 'T_cls 0.6' in lines[0]
    assert 'T_box 0' in lines[0]


def test_temperature_is_restored_after_an_error(make_model) -> None:
    model = make_model(broken=tuple(range(9)))
    with pytest.raises(RuntimeError):
        _run(model, _options(temperature=0.3))
    assert model.evaluations[0].temperature == 0.3
    assert model.augmentation.temperature == 0.05
