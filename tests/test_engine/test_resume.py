"""Test which checkpoint a training goes on from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mmtst.engine.resume import find_checkpoint


def save(path: Path, **meta: int) -> Path:
    torch.save({'meta': meta, 'state_dict': {'w': torch.ones(3)}}, path)
    return path


def test_the_highest_number_wins_not_the_latest_file(tmp_path: Path) -> None:
    newest = save(tmp_path / 'epoch_10.pth', epoch=10, iter=100)
    save(tmp_path / 'epoch_9.pth', epoch=9, iter=90)
    save(tmp_path / 'best_coco_bbox_mAP_epoch_11.pth', epoch=11, iter=110)
    (tmp_path / 'last_checkpoint').write_text('/removed/epoch_12.pth')
    assert find_checkpoint(tmp_path) == (newest, [])


@pytest.mark.parametrize('left', [0, 10, 200, -1])
def test_a_file_cut_short_is_left_out_and_named(
    tmp_path: Path, left: int
) -> None:
    whole = save(tmp_path / 'iter_100.pth', epoch=0, iter=100)
    cut = save(tmp_path / 'iter_200.pth', epoch=0, iter=200)
    cut.write_bytes(cut.read_bytes()[:left])
    found = find_checkpoint(tmp_path)
    assert found.path == whole
    ((path, reason),) = found.skipped
    assert path == cut
    assert 'cannot be read' in reason


def test_weights_alone_are_no_checkpoint_of_a_training(tmp_path: Path) -> None:
    torch.save({'w': torch.ones(3)}, tmp_path / 'epoch_1.pth')
    found = find_checkpoint(tmp_path)
    assert found.path is None
    assert 'at which iteration' in found.skipped[0][1]


def test_nothing_there_is_nothing_found(tmp_path: Path) -> None:
    assert find_checkpoint(tmp_path) == (None, [])
    assert find_checkpoint(tmp_path / 'not' / 'yet') == (None, [])
