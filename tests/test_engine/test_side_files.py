"""Test that whatever is in the place of a side file stops nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mmtst.engine.side_files import (
    make_room,
    parse_json,
    read_json,
    read_name,
    read_records,
    replace_text,
    set_aside,
)


@pytest.mark.parametrize(
    ('content', 'entries', 'skipped', 'torn'),
    [
        (b'', 0, 0, False),
        (b'{"a": 1}\n\n{"b": 2}\n', 2, 0, False),
        (b'{"a": 1}\n{"b": 2}', 2, 0, False),
        (b'{"a": 1}\n{"b"', 1, 1, True),
        (b'{"a": 1}\n{"b"\n', 1, 1, False),
        (b'[1\n{"a": 1}\n{"b"', 1, 2, False),
        (b'\xff\xfe\n{"a": 1}\n', 1, 1, False),
        (b'[1]\n"a"\n3\nnull\n', 0, 4, False),
        (b'9' * 5000 + b'\n', 0, 1, False),
        (b'[' * 100_000 + b'\n', 0, 1, False),
        (b'{"a": 1}\n' + b'x' * (3 << 20) + b'\n{"b": 2}\n', 2, 3, False),
    ],
)
def test_records_are_read_as_far_as_there_are_any(
    tmp_path: Path, content: bytes, entries: int, skipped: int, torn: bool
) -> None:
    path = tmp_path / 'records.jsonl'
    path.write_bytes(content)
    found = read_records(path)
    assert len(found.entries) == entries
    assert found.skipped == skipped
    assert found.torn == torn
    assert found.problem is None


@pytest.mark.parametrize('kind', ['nothing', 'folder', 'pipe', 'dangling'])
def test_what_is_no_file_is_named_and_not_waited_for(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / 'file'
    if kind == 'folder':
        path.mkdir()
    elif kind == 'pipe':
        os.mkfifo(path)
    elif kind == 'dangling':
        path.symlink_to(tmp_path / 'gone')
    word = 'is not there' if kind == 'nothing' else 'is no file'
    assert read_records(path).problem == word
    assert read_json(path) == (None, word)
    assert read_name(path) is None


def test_json_and_names(tmp_path: Path) -> None:
    path = tmp_path / 'file'
    path.write_text('{"a": [1]}\n')
    assert read_json(path) == ({'a': [1]}, None)
    path.write_text('{"a": ')
    assert read_json(path) == (None, 'holds no JSON')
    path.write_text('/work/epoch_1.pth\n')
    assert read_name(path) == '/work/epoch_1.pth'
    for content in (b'', b'\xff', b'a\x00b', b'\n'):
        path.write_bytes(content)
        assert read_name(path) is None
    assert parse_json(b'[1, 2]') == [1, 2]
    # Many brackets are no depth, nor are those in strings.
    many = [[1]] * 500 + ['[' * 500, '{"\\' * 500]
    assert parse_json(json.dumps(many).encode()) == many
    assert parse_json(b'{"a":' * 101 + b'1' + b'}' * 101) is None


def test_setting_aside_writes_over_nothing(tmp_path: Path) -> None:
    path = tmp_path / 'log.txt'
    (tmp_path / 'log.before_now.txt').write_text('older')
    (tmp_path / 'log.before_now_2.txt').symlink_to(tmp_path / 'gone')
    path.write_text('old')
    assert set_aside(path, 'now').name == 'log.before_now_3.txt'
    assert (tmp_path / 'log.before_now.txt').read_text() == 'older'
    assert not path.exists()


def test_a_link_is_replaced_and_a_folder_set_aside(tmp_path: Path) -> None:
    victim = tmp_path / 'victim'
    victim.write_text('mine')
    path = tmp_path / 'report.json'
    path.symlink_to(victim)
    (tmp_path / '.report.json.tmp').symlink_to(victim)
    replace_text(path, 'new')
    assert victim.read_text() == 'mine'
    assert path.read_text() == 'new'
    assert not path.is_symlink()
    for name in ('report.json', '.report.json.tmp'):
        (tmp_path / name).unlink(missing_ok=True)
        (tmp_path / name / 'inner').mkdir(parents=True)
    replace_text(path, 'newer')
    assert path.read_text() == 'newer'
    assert len(list(tmp_path.rglob('inner'))) == 2


def test_room_is_made_where_something_is_left(tmp_path: Path) -> None:
    path = tmp_path / 'left'
    make_room(path)
    path.write_text('')
    make_room(path, links=False)
    assert path.exists()
    make_room(path)
    assert not path.exists()


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
