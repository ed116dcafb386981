"""Test what a training takes for files of its own."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from mmtst.engine.written_files import (
    RECORD,
    WrittenFiles,
    is_whole,
    name_some,
)


def write(folder: Path, *names: str) -> WrittenFiles:
    folder.mkdir(exist_ok=True)
    written = WrittenFiles(folder)
    for name in names:
        (folder / name).write_text(name)
        written.note(folder / name, name)
    written.kept, written.outdated = [2, 3], [1]
    written.write()
    return written


def reread(folder: Path, name: str = 'epoch_3.pth') -> WrittenFiles:
    written = WrittenFiles(folder)
    written.read(folder / name)
    return written


def test_notes_go_on_from_a_file_that_is_in_them(tmp_path: Path) -> None:
    write(tmp_path, 'epoch_2.pth', 'epoch_3.pth')
    (tmp_path / 'epoch_4.pth').write_text('mine')
    again = WrittenFiles(tmp_path)
    assert again.read(tmp_path / 'epoch_3.pth') is None
    assert (again.kept, again.outdated) == ([2, 3], [1])
    assert again.owns('epoch_2.pth')
    assert not again.owns('epoch_4.pth')
    assert not again.remove('epoch_4.pth')
    assert again.remove('epoch_2.pth')
    assert not (tmp_path / 'epoch_2.pth').exists()


def test_they_start_anew_from_any_other(tmp_path: Path) -> None:
    write(tmp_path / 'a', 'epoch_2.pth', 'epoch_3.pth')
    write(tmp_path / 'b', 'epoch_3.pth')
    (tmp_path / 'a' / 'epoch_4.pth').write_text('mine')
    for path, words in (
        ('b/epoch_3.pth', 'lies in another folder'),
        ('a/epoch_4.pth', 'is not noted'),
        ('a/gone.pth', 'is not noted'),
        ('https://host/epoch_3.pth', 'lies in another folder'),
    ):
        again = WrittenFiles(tmp_path / 'a')
        reason = again.read(path if '//' in path else tmp_path / path)
        assert words in str(reason)
        assert (again.kept, again.outdated) == ([], [])
        assert not again.owns('epoch_2.pth')
    assert WrittenFiles(tmp_path / 'a').read(None) is None


@pytest.mark.parametrize('change', ['text', 'time', 'link', 'folder'])
def test_a_file_that_is_not_as_noted_is_not_ours(
    tmp_path: Path, change: str
) -> None:
    write(tmp_path, 'epoch_2.pth', 'epoch_3.pth')
    path = tmp_path / 'epoch_2.pth'
    if change == 'text':
        path.write_text('something longer')
    elif change == 'time':
        os.utime(path, (1, 1))
    else:
        path.unlink()
        if change == 'link':
            path.symlink_to(tmp_path / 'epoch_3.pth')
        else:
            path.mkdir()
    assert not reread(tmp_path).owns('epoch_2.pth')


def test_a_moved_folder_is_known_and_so_is_a_faithful_copy(
    tmp_path: Path,
) -> None:
    write(tmp_path / 'a', 'epoch_2.pth', 'epoch_3.pth')
    (tmp_path / 'a').rename(tmp_path / 'b')
    assert reread(tmp_path / 'b').owns('epoch_2.pth')
    shutil.copytree(tmp_path / 'b', tmp_path / 'c')
    assert reread(tmp_path / 'c').owns('epoch_2.pth')


def test_killed_before_or_after_a_file_has_its_name_it_is_known(
    tmp_path: Path,
) -> None:
    written = write(tmp_path, 'epoch_3.pth')
    part = tmp_path / 'part'
    part.write_text('another text')
    written.note(part, 'epoch_3.pth')
    written.write()
    assert reread(tmp_path).owns('epoch_3.pth')
    os.replace(part, tmp_path / 'epoch_3.pth')
    assert reread(tmp_path).owns('epoch_3.pth')


@pytest.mark.parametrize(
    'content',
    [
        b'\xff',
        b'[' * 100_000,
        b'[1]',
        b'{"files": [1], "kept": 3, "outdated": {"a": 1}}',
        b'{"files": {"epoch_3.pth": 3}}',
        b'{"files": {"epoch_3.pth": [[1, true], [1], ["a", 2], 4]}}',
    ],
)
def test_notes_that_are_none_are_left_out(
    tmp_path: Path, content: bytes
) -> None:
    write(tmp_path, 'epoch_3.pth')
    (tmp_path / RECORD).write_bytes(content)
    again = WrittenFiles(tmp_path)
    assert RECORD in str(again.read(tmp_path / 'epoch_3.pth'))
    assert (again.kept, again.outdated) == ([], [])


def test_names_in_notes_do_not_leave_the_folder(tmp_path: Path) -> None:
    write(tmp_path / 'a', 'epoch_3.pth')
    outside = tmp_path / 'outside'
    outside.write_text('mine')
    content = json.loads((tmp_path / 'a' / RECORD).read_text())
    state = outside.stat()
    stamp = [[state.st_size, state.st_mtime_ns]]
    content['files'].update({'../outside': stamp, str(outside): stamp})
    (tmp_path / 'a' / RECORD).write_text(json.dumps(content))
    again = reread(tmp_path / 'a')
    for name in ('../outside', str(outside)):
        assert not again.remove(name)
    assert outside.exists()


@pytest.mark.parametrize('value', [True, 1.0, '1', None, -1, [1]])
def test_only_whole_numbers_are_steps(value: Any) -> None:
    assert not is_whole(value)
    assert is_whole(0)


def test_only_some_are_named() -> None:
    assert name_some(range(3)) == '0, 1, 2'
    assert name_some(range(9)) == '0, 1, 2, 3, 4 and 4 more'
    assert len(name_some(['x' * 1000])) < 130
