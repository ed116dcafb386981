"""Test that a file has its name only when it is whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mmengine.fileio import LocalBackend

from mmtst.engine.whole_files import RemovalsPutOff, sync, write_whole
from mmtst.engine.written_files import WrittenFiles


def test_a_small_file_is_replaced_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'name'
    write_whole(path, 'old')

    def fail(*_: Any) -> None:
        raise OSError(28, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr('os.fsync', fail)
        with pytest.raises(OSError, match='No space'):
            write_whole(path, 'new')
    assert path.read_text() == 'old'
    write_whole(path, 'new')
    assert path.read_text() == 'new'
    assert [each.name for each in tmp_path.iterdir()] == ['name']
    sync(tmp_path)


def test_removals_wait_and_touch_only_noted_files(tmp_path: Path) -> None:
    out = tmp_path / 'out'
    out.mkdir()
    written = WrittenFiles(out)
    for name in ('own.pth', 'other.pth', 'sub'):
        path = out / name
        path.write_text(name)
    written.note(out / 'own.pth', 'own.pth')
    outside = tmp_path / 'own.pth'
    outside.write_text('own.pth')
    put_off = RemovalsPutOff(LocalBackend(), written)
    for path in (out / 'own.pth', out / 'other.pth', outside):
        assert put_off.isfile(str(path))
        put_off.remove(str(path))
    assert not put_off.isdir(str(out))
    put_off.rmtree(str(out))
    assert (out / 'own.pth').exists()
    put_off.remove_now()
    assert sorted(p.name for p in out.iterdir()) == ['other.pth', 'sub']
    assert outside.exists()
