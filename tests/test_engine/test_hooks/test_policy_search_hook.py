"""Test that searches happen, and that nothing but the policy notices."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook, IterTimerHook

from mmtst.engine import read_policy_log
from mmtst.engine.hooks import PolicySearchHook
from mmtst.utils.errors import ConfigError


def _seen(runner: Any) -> list[tuple[Any, ...]]:
    return next(h for h in runner.hooks if hasattr(h, 'seen')).seen


def _messages(runner: Any) -> str:
    [log] = Path(runner.log_dir).glob('*.log')
    return log.read_text()


def test_lowers_the_objective_before_the_given_epochs(make_runner) -> None:
    runner = make_runner({'at': [1, 2], 'iterations': 30, 'lr': 1.0})
    runner.train()
    model = runner.model
    searched = torch.cat(list(model.augmentation.policy))
    assert float((searched - 1.5).abs().mean()) < 0.1
    log = read_policy_log(Path(runner.work_dir) / 'policy.jsonl')
    assert {(e['search'], e['epoch'], e['iter']) for e in log} == {
        (0, 1, 4),
        (1, 2, 8),
    }
    first = [e for e in log if e['search'] == 0]
    assert first[0]['objective'] > 5 * first[-2]['objective']
    assert all(e.in_search for e in model.evaluations)


@pytest.mark.parametrize('by_epoch', [True, False])
@pytest.mark.parametrize('workers', [0, 1])
def test_training_does_not_notice(
    make_runner, by_epoch: bool, workers: int
) -> None:
    results = []
    for search in (
        None,
        {'at': [0, 2], 'by_epoch': by_epoch, 'iterations': 3, 'lr': 1.0},
    ):
        runner = make_runner(search, by_epoch=by_epoch, workers=workers)
        runner.train()
        results.append(
            (
                runner.model.trained,
                _seen(runner),
                runner.model.student.weight.tolist(),
                runner.iter,
                runner.epoch,
            )
        )
    assert len(results[0][0]) == (12 if by_epoch else 8)
    assert results[0] == results[1]
    assert runner.model.evaluations


def test_searches_see_other_data_than_the_training(make_runner) -> None:
    runner = make_runner({'at': [0, 1], 'iterations': 4, 'report_batches': 0})
    runner.train()
    batches = [e.inputs for e in runner.model.evaluations]
    assert len(batches) == 8
    assert len({tuple(b) for b in batches}) == 8
    # One pass over the 12 images, in another order in each search.
    first, second = (
        [number for b in half for number in b[::2]]
        for half in (batches[:4], batches[4:])
    )
    assert sorted(first) == sorted(second) == [float(i) for i in range(12)]
    assert first != second


def test_a_search_depends_on_its_seed_alone(make_runner) -> None:
    def evaluations(**more: Any) -> Any:
        search = {'at': [1], 'iterations': 3, 'seed': 5, **more}
        runner = make_runner(search, randomness={'seed': 1})
        torch.rand(3)
        runner.train()
        return [
            (e.inputs, e.draw, e.global_draw) for e in runner.model.evaluations
        ]

    assert evaluations() == evaluations()
    assert evaluations() != evaluations(seed=6)


def test_default_length_and_rate_are_portable(make_runner) -> None:
    runner = make_runner({'at': [0], 'report_batches': 0})
    runner.train()
    assert len(runner.model.evaluations) == 100
    log = read_policy_log(Path(runner.work_dir) / 'policy.jsonl')
    assert log[0]['lr'] == pytest.approx(0.039)
    assert log[-1]['step'] == 100


def test_length_in_epochs(make_runner) -> None:
    runner = make_runner({'at': [0], 'epochs': 2, 'report_batches': 0})
    runner.train()
    assert len(runner.model.evaluations) == 2 * 4


def test_budget_holds_the_mean_rate(make_runner) -> None:
    runner = make_runner(
        {'at': [0], 'iterations': 20, 'lr': 1.0, 'budget': 0.3}
    )
    runner.train()
    for evaluation in runner.model.evaluations[:20]:
        rate = float(evaluation.policy.probabilities.mean())
        assert rate == pytest.approx(0.3, abs=1e-4)
    magnitudes = runner.model.augmentation.policy.magnitudes
    assert float(magnitudes.mean()) > 0.7


def test_budget_beyond_the_clamp_is_refused(make_runner) -> None:
    runner = make_runner({'at': [0], 'budget': 0.99})
    with pytest.raises(ConfigError, match=r'between 0\.047 and 0\.953'):
        runner.train()


def test_a_nan_goes_back_and_on(make_runner) -> None:
    runner = make_runner(
        {'at': [0], 'iterations': 12, 'lr': 1.0, 'log_interval': 1},
        model={'broken': (5,)},
    )
    runner.train()
    policies = [e.policy for e in runner.model.evaluations]
    # Step 6 starts from the policy of step 4, the last with a good value.
    assert torch.equal(policies[6].th_p, policies[4].th_p)
    assert not torch.equal(policies[5].th_p, policies[4].th_p)
    assert not torch.equal(policies[7].th_p, policies[6].th_p)
    assert 'Search step 5: objective or gradient is not finite' in _messages(
        runner
    )
    assert runner.iter == 12


def test_too_many_nans_stop(make_runner) -> None:
    runner = make_runner(
        {'at': [1], 'iterations': 12, 'max_nonfinite': 2},
        model={'broken': (3, 4)},
    )
    with pytest.raises(RuntimeError, match='2 times, last at step 4'):
        runner.train()
    assert not runner.model.in_search
    assert runner.iter == 4
    policy = runner.model.augmentation.policy
    assert torch.equal(policy.th_p, runner.model.evaluations[2].policy.th_p)


def test_batches_without_objects_are_left_out(make_runner) -> None:
    runner = make_runner(
        {'at': [0], 'iterations': 6, 'lr': 1.0}, model={'empty': (0, 2)}
    )
    runner.train()
    policies = [e.policy.th_p for e in runner.model.evaluations]
    assert torch.equal(policies[0], policies[1])
    assert torch.equal(policies[2], policies[3])
    assert not torch.equal(policies[1], policies[2])


def test_a_search_without_any_object_warns(make_runner) -> None:
    runner = make_runner(
        {'at': [0], 'iterations': 3, 'report_batches': 1},
        model={'empty': tuple(range(10))},
    )
    runner.train()
    assert 'no update in 3 steps: 3 had no image' in _messages(runner)


def test_warns_when_nothing_moves(make_runner) -> None:
    runner = make_runner({'at': [0], 'iterations': 3, 'lr': 1e-4})
    runner.train()
    text = _messages(runner)
    assert 'No rate moved by 0.05' in text
    assert 'PolicySearchHook.iterations' in text


def test_does_not_warn_when_something_moves(make_runner) -> None:
    runner = make_runner({'at': [0], 'iterations': 30, 'lr': 1.0})
    runner.train()
    assert 'No rate moved' not in _messages(runner)


def test_says_once_that_alrs_does_nothing(make_runner) -> None:
    runner = make_runner({'at': [0, 1], 'epochs': 1})
    runner.train()
    assert _messages(runner).count('ALRS acts between') == 1


def test_says_nothing_of_alrs_where_it_acts(make_runner) -> None:
    runner = make_runner({'at': [0], 'epochs': 2})
    runner.train()
    assert 'ALRS acts between' not in _messages(runner)


def test_search_temperature_holds_during_the_search_only(make_runner) -> None:
    runner = make_runner(
        {
            'at': [0],
            'iterations': 2,
            'search_temperature': 0.3,
            'report_batches': 1,
        }
    )
    runner.train()
    used = [e.temperature for e in runner.model.evaluations]
    assert used[:2] == [0.3, 0.3]
    assert set(used[2:]) == {0.05}
    assert runner.model.augmentation.temperature == 0.05


def test_report_and_scalars(make_runner, read_json) -> None:
    runner = make_runner(
        {'at': [0, 2], 'iterations': 5, 'lr': 2.0},
        visualizer={
            'type': 'Visualizer',
            'vis_backends': [{'type': 'LocalVisBackend'}],
        },
    )
    runner.train()
    work_dir = Path(runner.work_dir)
    reports = [read_json(work_dir / f'search_{k}.json') for k in (0, 1)]
    assert set(reports[0]['columns']) == {
        'originals',
        'before',
        'searched',
        'permuted',
    }
    [path] = work_dir.glob('*/vis_data/scalars.json')
    lines = path.read_text()
    assert '"policy/prob/Rotate"' in lines
    assert '"search/objective"' in lines
    assert 'Norm of the policy gradient by part: T_cls' in _messages(runner)
    # The reports of a run are measured on the same batches.
    evaluations = runner.model.evaluations
    number = 4 * (1 + 1 + 1 + 3)
    assert len(evaluations) == 2 * (5 + number)
    one = [e.inputs for e in evaluations[5 : 5 + number]]
    two = [e.inputs for e in evaluations[-number:]]
    assert one == two
    assert len({tuple(inputs) for inputs in one}) == 4


def test_the_message_hub_hears_nothing(make_runner) -> None:
    runner = make_runner({'at': [0], 'iterations': 2})
    runner.train()
    scalars = runner.message_hub.log_scalars
    assert not [key for key in scalars if 'search' in key or 'policy' in key]


@pytest.mark.parametrize('by_epoch', [True, False])
def test_the_timer_does_not_count_the_search(
    make_runner, by_epoch: bool, monkeypatch
) -> None:
    original = PolicySearchHook._search

    def slow(self: Any, *args: Any) -> None:
        original(self, *args)
        time.sleep(1.0)

    monkeypatch.setattr(PolicySearchHook, '_search', slow)
    runner = make_runner(
        {'at': [1], 'by_epoch': by_epoch, 'iterations': 1}, by_epoch=by_epoch
    )
    runner.train()
    timer = next(h for h in runner.hooks if isinstance(h, IterTimerHook))
    assert 0 < timer.time_sec_tot < 0.9


def test_comes_after_what_switches_and_before_schedulers(make_runner) -> None:
    runner = make_runner({'at': [0]})
    runner.register_hook(Hook())  # of normal priority, and registered later
    names = [type(hook).__name__ for hook in runner.hooks]
    place = names.index('PolicySearchHook')
    for earlier in ('RuntimeInfoHook', 'IterTimerHook', 'Hook'):
        assert names.index(earlier) < place
    for later in ('ParamSchedulerHook', 'CheckpointHook'):
        assert place < names.index(later)


@pytest.mark.parametrize(
    ('by_epoch', 'second', 'checkpoint'),
    [(True, 2, 'epoch_2.pth'), (False, 5, 'iter_5.pth')],
)
def test_resume_repeats_what_came_after_the_checkpoint(
    make_runner, by_epoch: bool, second: int, checkpoint: str
) -> None:
    search = {
        'at': [0, second],
        'by_epoch': by_epoch,
        'iterations': 4,
        'lr': 1.0,
        'log_interval': 1,
    }
    whole = make_runner(search, by_epoch=by_epoch)
    whole.train()
    path = Path(whole.work_dir) / 'policy.jsonl'
    expected = read_policy_log(path)
    with path.open('a') as file:
        file.write('{"search": 1, "torn')
    again = make_runner(
        search,
        by_epoch=by_epoch,
        load_from=str(Path(whole.work_dir) / checkpoint),
        resume=True,
    )
    again.train()
    assert read_policy_log(path) == expected
    for one, two in zip(
        whole.model.augmentation.policy,
        again.model.augmentation.policy,
        strict=True,
    ):
        assert torch.equal(one, two)
    # Only the second search was done again.
    assert len(again.model.evaluations) * 2 == len(whole.model.evaluations)


def test_a_fresh_run_sets_an_old_log_aside(make_runner) -> None:
    for _ in range(2):
        runner = make_runner({'at': [0], 'iterations': 2})
        runner.train()
    work_dir = Path(runner.work_dir)
    logs = list(work_dir.glob('policy*.jsonl'))
    assert len(logs) == 2
    assert [e['step'] for e in read_policy_log(logs[0])] == [0, 2]
    assert [e['step'] for e in read_policy_log(logs[1])] == [0, 2]


@pytest.mark.parametrize('control', ['off', 'randaugment', 'replay:x.json'])
def test_controls_without_a_search(make_runner, control: str) -> None:
    runner = make_runner({'at': [0], 'iterations': 2})
    runner.model.policy = control
    runner.train()
    assert not runner.model.evaluations
    assert 'No policy search' in _messages(runner)


def test_a_time_past_the_end_fails_at_the_start(make_runner) -> None:
    runner = make_runner({'at': [1, 3]})
    with pytest.raises(ConfigError, match='max_epochs=3') as caught:
        runner.train()
    assert '[3]' in str(caught.value)
    assert runner.iter == 0
    runner = make_runner({'at': [8], 'by_epoch': False}, by_epoch=False)
    with pytest.raises(ConfigError, match='max_iters=8'):
        runner.train()


def test_epochs_under_an_iteration_loop_are_refused(make_runner) -> None:
    runner = make_runner({'at': [0]}, by_epoch=False)
    with pytest.raises(ConfigError, match='by_epoch=False'):
        runner.train()


def test_a_model_without_a_policy_is_refused(make_runner) -> None:
    runner = make_runner({'at': [0]})
    del runner.model.augmentation
    with pytest.raises(ConfigError, match=r'mmtst\.TSTDistill'):
        runner.train()


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ({'at': 3}, 'a list'),
        ({'at': '3'}, 'a list'),
        ({'at': [-1]}, 'from 0'),
        ({'at': [1.5]}, 'an integer'),
        ({'at': [True]}, 'an integer'),
        ({'at': [1, 1]}, 'same time'),
        ({'at': [1], 'by_epoch': 'yes'}, 'by_epoch'),
        ({'at': [1], 'epochs': 1, 'iterations': 5}, 'given twice'),
        ({'at': [1], 'epochs': 0}, 'from 1'),
        ({'at': [1], 'iterations': 0}, 'from 1'),
        ({'at': [1], 'lr': 0}, 'over 0'),
        ({'at': [1], 'lr': float('nan')}, 'finite'),
        ({'at': [1], 'lr': '0.1'}, 'finite number'),
        ({'at': [1], 'momentum': 1.0}, 'below 1'),
        ({'at': [1], 'clip_grad': -1}, 'over 0'),
        ({'at': [1], 'search_temperature': 0.0}, 'over 0'),
        ({'at': [1], 'budget': 1.0}, 'below 1'),
        ({'at': [1], 'budget': 'keep'}, 'hold'),
        ({'at': [1], 'batch_size': 0}, 'from 1'),
        ({'at': [1], 'report_batches': -1}, 'from 0'),
        ({'at': [1], 'max_nonfinite': 0}, 'from 1'),
        ({'at': [1], 'log_interval': 0}, 'from 1'),
        ({'at': [1], 'alrs': {'threshold': 0.1}}, 'factor'),
        ({'at': [1], 'alrs': {'threshold': 0.1, 'factor': 2}}, 'below 1'),
        ({'at': [1], 'seed': -1}, 'from 0'),
    ],
)
def test_options_out_of_range(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        PolicySearchHook(**options)
    assert 'PolicySearchHook' in str(caught.value)


def test_logging_is_at_the_level_of_the_runner(make_runner) -> None:
    runner = make_runner({'at': [0], 'iterations': 20, 'log_interval': 5})
    assert runner.logger.level == logging.DEBUG or runner.logger.level <= 20
    runner.train()
    text = _messages(runner)
    for step in (0, 5, 10, 15):
        assert f'Search step {step} of 20' in text
    assert 'Policy search 1 of 1 before epoch 0: 20 steps' in text


def test_what_cannot_be_searched_is_found_at_the_start(
    make_runner, monkeypatch
) -> None:
    runner = make_runner({'at': [2], 'iterations': 2, 'probe': True})

    def refuse(*args: Any) -> None:
        raise ConfigError('the loss escapes')

    monkeypatch.setattr(runner.model, 'search_objective', refuse)
    with pytest.raises(ConfigError, match='escapes'):
        runner.train()
    assert runner.iter == 0


def test_the_probe_leaves_no_trace(make_runner) -> None:
    runs = []
    for probe in (False, True):
        search = {'at': [1], 'iterations': 3, 'lr': 1.0, 'budget': 0.4}
        runner = make_runner({**search, 'probe': probe})
        runner.train()
        runs.append(runner)
    plain, probed = runs
    assert len(probed.model.evaluations) == len(plain.model.evaluations) + 1
    assert probed.model.trained == plain.model.trained
    assert _seen(probed) == _seen(plain)
    for one, two in zip(
        plain.model.augmentation.policy,
        probed.model.augmentation.policy,
        strict=True,
    ):
        assert torch.equal(one, two)
