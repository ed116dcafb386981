"""Test the lines of the policy log, and cutting them back."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mmtst.augmentation.base import (
    MAGNITUDE_OPERATORS,
    OPERATORS,
    Policy,
)
from mmtst.engine.policy_log import (
    PolicyLog,
    cut_policy_log,
    describe_policy,
    jsonable,
    prepare_policy_log,
    read_policy_log,
)


def _written(tmp_path: Path) -> Path:
    path = tmp_path / 'policy.jsonl'
    log = PolicyLog(path)
    for search, iteration in enumerate((0, 40, 80)):
        for step in (0, 10):
            log.append({'search': search, 'step': step, 'iter': iteration})
    return path


def test_operators_are_named_in_their_order() -> None:
    policy = Policy(torch.arange(14.0) - 7, torch.zeros(11))
    described = describe_policy(policy)
    assert tuple(described['prob']) == OPERATORS
    assert tuple(described['mag']) == MAGNITUDE_OPERATORS
    sigmoid = 1 / (1 + math.exp(7))
    assert described['prob']['Rotate'] == pytest.approx(sigmoid)
    assert set(described['mag'].values()) == {0.5}


def test_lines_are_strict_json(tmp_path: Path) -> None:
    path = tmp_path / 'policy.jsonl'
    log = PolicyLog(path)
    log.append({'objective': math.nan, 'parts': {'a': -math.inf, 'b': 1.5}})
    log.append({'step': 3})
    lines = path.read_text().splitlines()
    assert json.loads(lines[0]) == {
        'objective': None,
        'parts': {'a': None, 'b': 1.5},
    }
    assert read_policy_log(path)[1] == {'step': 3}


def test_without_a_path_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    PolicyLog(None).append({'step': 1})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ('iteration', 'kept'), [(0, 0), (1, 2), (40, 2), (41, 4), (1000, 6)]
)
def test_cut_keeps_searches_before_earlier_iterations(
    tmp_path: Path, iteration: int, kept: int
) -> None:
    path = _written(tmp_path)
    before = read_policy_log(path)
    assert cut_policy_log(path, iteration) == 6 - kept
    assert read_policy_log(path) == before[:kept]
    assert [p.name for p in tmp_path.iterdir()] == ['policy.jsonl']


def test_cut_drops_a_torn_line(tmp_path: Path) -> None:
    path = _written(tmp_path)
    with path.open('a') as file:
        file.write('{"search": 2, "st')
    cut_policy_log(path, 1000)
    PolicyLog(path).append({'search': 3})
    assert read_policy_log(path)[-1] == {'search': 3}
    assert len(path.read_text().splitlines()) == 7


def test_cut_of_a_missing_file(tmp_path: Path) -> None:
    assert cut_policy_log(tmp_path / 'none.jsonl', 3) == 0
    assert list(tmp_path.iterdir()) == []


def test_prepare_cuts_on_resume_and_sets_aside_otherwise(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger('test_policy_log')
    path = _written(tmp_path)
    with caplog.at_level(logging.INFO, logger='test_policy_log'):
        prepare_policy_log(path, 41, 'now', logger)
    assert len(read_policy_log(path)) == 4
    assert '2 entries do not lie before iteration 41' in caplog.text
    # Where a training stands is what a checkpoint says: nothing is lost.
    assert len(read_policy_log(tmp_path / 'policy.before_now.jsonl')) == 6
    prepare_policy_log(path, 41, 'now', logger)
    assert len(list(tmp_path.iterdir())) == 2
    prepare_policy_log(path, 0, 'now', logger)
    assert not path.exists()
    assert len(read_policy_log(tmp_path / 'policy.before_now_2.jsonl')) == 4
    prepare_policy_log(path, 0, 'later', logger)
    assert len(list(tmp_path.iterdir())) == 2


def _bytes(path: Path) -> None:
    path.write_bytes(b'\xff\xfe\x00\n' + path.read_bytes())


def _numbers(path: Path) -> None:
    with path.open('a') as file:
        file.write('[1]\n3\nnull\n{"iter": ' + '9' * 5000 + '}\n')


def _nested(path: Path) -> None:
    path.write_text('[' * 100_000 + '\n' + path.read_text())


def _types(path: Path) -> None:
    with path.open('a') as file:
        for at in ('"a"', 'true', '1.5', '[1]', 'null', 'NaN', '-1'):
            file.write(f'{{"search": 0, "iter": {at}}}\n')


def _folder(path: Path) -> None:
    path.unlink()
    (path / 'inner').mkdir(parents=True)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _link(path: Path) -> None:
    target = path.with_name('target')
    path.rename(target)
    path.symlink_to(target)


def _dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name('target'))


@pytest.mark.parametrize(
    ('spoil', 'kept', 'words'),
    [
        (_bytes, 6, '1 lines are no records'),
        (_numbers, 6, '4 lines are no records'),
        (_nested, 6, '1 lines are no records'),
        (_types, 6, '7 entries do not lie before iteration 1000'),
        (_folder, 0, 'it is no file'),
        (_pipe, 0, 'it is no file'),
        (_link, 6, 'it is a link'),
        (_dangling, 0, 'it is no file'),
    ],
)
@pytest.mark.parametrize('iteration', [0, 1000])
def test_what_cannot_be_read_is_set_aside_and_named(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[Path], None],
    kept: int,
    words: str,
    iteration: int,
) -> None:
    path = _written(tmp_path)
    spoil(path)
    target = tmp_path / 'target'
    before = target.read_bytes() if target.exists() else None
    with caplog.at_level(logging.INFO, logger='test_policy_log'):
        prepare_policy_log(
            path, iteration, 'now', logging.getLogger('test_policy_log')
        )
    assert os.path.lexists(tmp_path / 'policy.before_now.jsonl')
    assert 'policy.before_now.jsonl' in caplog.text
    if iteration:
        assert words in caplog.text
    log = PolicyLog(path)
    log.append({'search': 3, 'iter': 1000})
    assert len(read_policy_log(path)) == (kept if iteration else 0) + 1
    assert not path.is_symlink()
    # Nothing is written through a link.
    assert (target.read_bytes() if target.exists() else None) == before


def test_a_torn_last_line_alone_leaves_nothing_aside(tmp_path: Path) -> None:
    path = _written(tmp_path)
    with path.open('a') as file:
        file.write('{"search": 2, "st')
    prepare_policy_log(path, 1000, 'now', logging.getLogger('test_policy_log'))
    assert len(path.read_text().splitlines()) == 6
    assert [p.name for p in tmp_path.iterdir()] == ['policy.jsonl']


def test_jsonable_copies() -> None:
    value = {'a': [1.0, math.inf], 'b': (True, 'word', None)}
    assert jsonable(value) == {'a': [1.0, None], 'b': [True, 'word', None]}
    assert value['a'] == [1.0, math.inf]
