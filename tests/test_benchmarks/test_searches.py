"""Reports of searches are read, or named if they are none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from _searches import read_searches
from collect_runs import UnreadableFile

REPORT = {
    'search': {
        'iterations': 3,
        'seconds': 1.26,
        'gradient_signal_to_noise': 2.0,
    },
    'columns': {
        'searched': {
            'objective': 1.0,
            'gap_rate': 0.5,
            'teacher_right': 0.5,
            'student_wrong': None,
            'expected_operators': 2.0,
        }
    },
    'policy': {'searched': {'prob': {'Rotate': 0.12345}, 'mag': {}}},
}


def test_reports_are_read_in_their_order(tmp_path: Path) -> None:
    for number in (10, 2):
        report = {**REPORT, 'search': {**REPORT['search'], 'seconds': number}}
        (tmp_path / f'search_{number}.json').write_text(json.dumps(report))
    (tmp_path / 'search_mine.json').write_text('of the user')
    found = read_searches(tmp_path)
    assert [search['seconds'] for search in found] == [2, 10]
    assert found[0]['prob'] == {'Rotate': 0.1235}


@pytest.mark.parametrize(
    'content',
    [
        b'',
        b'\x80',
        b'[]',
        b'{"search": 3}',
        json.dumps({**REPORT, 'columns': []}).encode(),
        json.dumps({**REPORT, 'policy': {'searched': {'prob': 3}}}).encode(),
        b'[' * 100_000,
    ],
)
def test_what_is_no_report_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / 'search_0.json').write_bytes(content)
    with pytest.raises(UnreadableFile, match='search_0.json'):
        read_searches(tmp_path)
