"""Test that a folder is written beside its place, over nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmtst.datasets.unfinished import begin_folder, finish_folder
from mmtst.utils.errors import ConfigError


def test_a_folder_takes_its_place_when_it_is_finished(tmp_path: Path) -> None:
    place = tmp_path / 'deep' / 'data'
    part = begin_folder(place)
    (part / 'half').touch()
    # Killed, and started again.
    part = begin_folder(place)
    (part / 'all').touch()
    place.mkdir()
    finish_folder(part, place)
    assert [path.name for path in place.iterdir()] == ['all']
    assert not part.exists()


@pytest.mark.parametrize('kind', ['folder', 'file', 'link'])
def test_what_is_there_of_others_stays(tmp_path: Path, kind: str) -> None:
    part = tmp_path / 'data.part'
    if kind == 'folder':
        part.mkdir()
        (part / 'mine').touch()
    elif kind == 'file':
        part.touch()
    else:
        begin_folder(tmp_path / 'other')
        part.symlink_to(tmp_path / 'other.part')
    with pytest.raises(ConfigError, match=r'data\.part'):
        begin_folder(tmp_path / 'data')
    assert part.exists()
    assert kind != 'folder' or (part / 'mine').exists()
