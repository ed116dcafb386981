"""Test the running of steps with small commands."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace

import pytest


@pytest.fixture
def steps(load_tool):
    return load_tool('_steps')


class Plan:
    """Make steps that append their name to one file."""

    def __init__(self, steps, folder, jobs=1):
        self.steps = steps
        self.folder = folder
        self.jobs = jobs
        self.trace = folder / 'trace'

    def step(self, name, needs=(), code='pass', output=None):
        output = output or self.folder / name
        program = (
            f'open({str(self.trace)!r}, "a").write({name!r} + " ");'
            f'open({str(output)!r}, "a").close();{code}'
        )
        command = (sys.executable, '-c', program)
        return self.steps.Step(name, command, output, needs, f'makes {name}')

    def run(self, *steps):
        self.steps.StepRunner(self.folder, self.jobs).run(steps)
        return self.trace.read_text().split()


def test_steps_run_in_order_and_once(steps, tmp_path, capsys):
    plan = Plan(steps, tmp_path)
    some = plan.step('a'), plan.step('b', ('a',)), plan.step('c', ('b',))
    assert plan.run(*some) == ['a', 'b', 'c']
    assert plan.run(*some) == ['a', 'b', 'c']
    text = capsys.readouterr().out
    assert text.count('makes') == 3
    assert text.count('done before, skipped') == 3
    stamp = json.loads((tmp_path / 'stamps' / 'a.json').read_text())
    assert stamp['finished'] is True


@pytest.mark.parametrize('content', [b'\xff', b'{', b'[]', b'1' * 5000])
def test_a_broken_stamp_counts_as_none(steps, tmp_path, content):
    plan = Plan(steps, tmp_path)
    plan.run(plan.step('a'))
    (tmp_path / 'stamps' / 'a.json').write_bytes(content)
    assert plan.run(plan.step('a')) == ['a', 'a']


def test_a_changed_step_takes_along_what_needs_it(steps, tmp_path):
    plan = Plan(steps, tmp_path)
    plan.run(plan.step('a'), plan.step('b', ('a',)), plan.step('c'))
    changed = plan.step('a', code='None')
    done = plan.run(changed, plan.step('b', ('a',)), plan.step('c'))
    assert sorted(done[:3]) == ['a', 'b', 'c']
    assert done[3:] == ['a', 'b']


def test_a_changed_step_starts_from_nothing(steps, tmp_path):
    plan = Plan(steps, tmp_path)
    folder = tmp_path / 'work'
    make = f'import os; os.makedirs({str(folder)!r}, exist_ok=True);'
    first = make + f'open({str(folder / "old")!r}, "w").close()'
    command = (sys.executable, '-c', first)
    runner = steps.StepRunner(tmp_path)
    runner.run([steps.Step('a', command, folder)])
    assert (folder / 'old').exists()
    command = (sys.executable, '-c', make)
    runner.run([steps.Step('a', command, folder)])
    assert folder.exists()
    assert not (folder / 'old').exists()
    assert plan.folder == tmp_path


def test_another_basis_is_a_change_too(steps, tmp_path):
    plan = Plan(steps, tmp_path)
    first, second = plan.step('a'), plan.step('b', ('a',))
    plan.run(first, second)
    changed = replace(first, basis='new')
    assert plan.run(changed, second) == ['a', 'b', 'a', 'b']
    assert plan.run(changed, second) == ['a', 'b', 'a', 'b']


def test_lost_output_is_made_again(steps, tmp_path):
    plan = Plan(steps, tmp_path)
    plan.run(plan.step('a'))
    (tmp_path / 'a').unlink()
    assert plan.run(plan.step('a')) == ['a', 'a']


def test_failure_shows_the_log_and_can_go_on(steps, tmp_path):
    plan = Plan(steps, tmp_path)
    good = tmp_path / 'good'
    code = (
        f'import os, sys; print("what went wrong");'
        f'sys.exit(0 if os.path.exists({str(good)!r}) else 3)'
    )
    some = plan.step('a'), plan.step('b', ('a',), code), plan.step('c', ('b',))
    with pytest.raises(steps.StepFailed, match='code 3') as error:
        plan.run(*some)
    assert 'what went wrong' in str(error.value)
    assert 'b.log' in str(error.value)
    good.touch()
    assert plan.run(*some) == ['a', 'b', 'b', 'c']


def test_two_at_a_time_and_the_other_is_stopped(steps, tmp_path):
    plan = Plan(steps, tmp_path, jobs=2)
    began = time.monotonic()
    slow = plan.step('slow', code='import time; time.sleep(60)')
    bad = plan.step('bad', code='import time, sys; time.sleep(1); sys.exit(1)')
    with pytest.raises(steps.StepFailed, match='bad'):
        plan.run(slow, bad)
    assert time.monotonic() - began < 30
    stamp = json.loads((tmp_path / 'stamps' / 'slow.json').read_text())
    assert stamp['finished'] is False


def test_environment_reaches_the_commands(steps, tmp_path):
    program = 'import os; open(os.environ["PLACE"], "w").close()'
    place = tmp_path / 'place'
    step = steps.Step('a', (sys.executable, '-c', program), place)
    steps.StepRunner(tmp_path, 1, {'PLACE': str(place)}).run([step])
    assert place.exists()


@pytest.mark.parametrize(
    ('line', 'news'),
    [
        (
            '01/01 - mmengine - INFO - Epoch(train)  [2][50/50]  lr: 1e-03  '
            'eta: 0:00:00  time: 0.1  loss: 1.2345  loss_cls: 0.5',
            'epoch 2: loss 1.234',
        ),
        ('Epoch(train)  [2][10/50]  lr: 1e-03  loss: 1.2345', None),
        (
            'Epoch(val) [3][19/19]    coco/bbox_mAP: 0.1230  '
            'coco/bbox_mAP_50: 0.3',
            'AP 0.123',
        ),
        (
            '01/01 - mmengine - INFO - Iter(train) [ 200/1000]  lr: 1e-03  '
            'eta: 0:00:00  time: 0.1  loss: 1.2345  decode.loss_ce: 0.5',
            'iteration 200: loss 1.234',
        ),
        (
            'Iter(train) [60/60]  lr: 1e-03  loss: 1.2345  x: 1',
            'iteration 60: loss 1.234',
        ),
        ('Iter(train) [ 110/1000]  lr: 1e-03  loss: 1.2345', None),
        ('Iter(val) [10/10]    aAcc: 85.2700  mIoU: 14.21', 'mIoU 14.2'),
        (
            'Epoch(val) [3][4/4]    accuracy/top1: 35.8500  '
            'accuracy/top5: 74.7000',
            'top-1 35.9',
        ),
        ('Iter(val) [10/13]    eta: 0:00:01  time: 0.6006', None),
        (
            'INFO - Search step 50 of 100: objective 1.2, mean rate 0.5',
            'Search step 50 of 100: objective 1.2, mean rate 0.5',
        ),
        ('INFO - Search step 40 of 100: objective 1.2', None),
        ('anything else', None),
    ],
)
def test_digest(steps, line, news):
    assert steps.digest(line) == news
