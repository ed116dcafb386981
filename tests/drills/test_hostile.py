"""Try hostile and malformed input: the short form of ``make drill-hostile``.

The cases that run in forks of this process would have its threads; so the
drill is a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hostile.cases import SHORT, all_cases
from hostile.harness import (
    Case,
    Command,
    Place,
    Verdict,
    judge,
    listing,
    lost,
    table,
)

DRILL = Path(__file__).with_name('run_hostile.py')


def test_there_are_enough_of_them() -> None:
    cases = all_cases()
    assert len(cases) >= 220
    assert set(SHORT) <= {case.name for case in cases}


@pytest.mark.slow
def test_the_short_form(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(DRILL), '--short', '--work-dir',
         str(tmp_path / 'drill')],
        env={**os.environ, 'PYTHONWARNINGS': 'ignore'},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def _case(expect: str = 'clear', words: tuple[str, ...] = ()) -> Case:
    return Case(
        'x',
        'y',
        lambda place: Command('train', []),
        expect,  # type: ignore[arg-type]
        words,
        check=lambda place: place.work.exists(),
    )


@pytest.mark.parametrize(
    ('expect', 'code', 'text', 'changed', 'outcome'),
    [
        ('clear', 1, 'train: bad.pth is cut short', [], 'clear'),
        ('clear', 1, 'train: something is wrong', [], 'silent'),
        ('clear', 0, 'bad.pth', [], 'silent'),
        ('clear', 1, 'bad.pth\nTraceback (most recent call last)', [],
         'traceback'),
        ('clear', -9, 'bad.pth', [], 'traceback'),
        ('clear', 1, 'bad.pth', ['notes.txt'], 'lost'),
        ('survived', 1, 'bad.pth', [], 'lost'),
        ('survived', 0, 'bad.pth', [], 'lost'),
        ('named', 0, 'nothing', [], 'silent'),
    ],
)  # fmt: skip
def test_how_a_case_is_judged(
    tmp_path: Path,
    expect: str,
    code: int,
    text: str,
    changed: list[str],
    outcome: str,
) -> None:
    case, place = _case(expect, (r'bad\.pth',)), Place(tmp_path, None)
    assert judge(case, place, code, text, changed)[0] == outcome
    place.marker.touch()
    assert judge(case, place, code, text, changed)[0] == 'executed'


def test_what_survives_has_done_its_work(tmp_path: Path) -> None:
    place = Place(tmp_path, None)
    place.work.mkdir(parents=True)
    case = _case('survived')
    assert judge(case, place, 0, '', []) == ('survived', '')


def test_what_is_gone_or_changed_is_lost(tmp_path: Path) -> None:
    for name in ('kept', 'changed', 'gone', 'linked'):
        (tmp_path / name).write_text(name)
    before = listing(tmp_path)
    (tmp_path / 'changed').write_text('otherwise')
    (tmp_path / 'gone').unlink()
    (tmp_path / 'linked').unlink()
    (tmp_path / 'linked').symlink_to('kept')
    (tmp_path / 'new').write_text('of the tool')
    names = sorted(name for name, _ in lost(before, tmp_path))
    assert names == ['changed', 'gone', 'linked']


def test_the_table_counts() -> None:
    verdicts = [
        Verdict(_case(), outcome, '', 1.0)
        for outcome in ('clear', 'clear', 'lost')
    ]
    assert '| y | 3 | 2 | 0 | 0 | 0 | 1 | 0 |' in table(verdicts)
    assert '| **all** | 3 | 2 | 0 | 0 | 0 | 1 | 0 |' in table(verdicts)
