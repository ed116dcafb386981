"""Test the lines of the policy log, and cutting them back."""

from __future__ import annotations

import json
import logging
import math
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
    replace_text,
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
    assert 'Cut 2 entries' in caplog.text
    prepare_policy_log(path, 0, 'now', logger)
    assert not path.exists()
    assert len(read_policy_log(tmp_path / 'policy.before_now.jsonl')) == 4
    prepare_policy_log(path, 0, 'later', logger)
    assert len(list(tmp_path.iterdir())) == 1


def test_replace_text_leaves_the_old_file_on_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'report.json'
    replace_text(path, 'old')

    def fail(*_: object) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('os.fsync', fail)
    with pytest.raises(OSError, match='No space'):
        replace_text(path, 'new')
    assert path.read_text() == 'old'


def test_jsonable_copies() -> None:
    value = {'a': [1.0, math.inf], 'b': (True, 'word', None)}
    assert jsonable(value) == {'a': [1.0, None], 'b': [True, 'word', None]}
    assert value['a'] == [1.0, math.inf]
