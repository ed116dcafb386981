"""Test which checkpoint a training goes on from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config

from mmtst.engine.resume import final_checkpoint, find_checkpoint


def save(path: Path, **meta: int) -> Path:
    torch.save({'meta': meta, 'state_dict': {'w': torch.ones(3)}}, path)
    return path


def test_the_one_written_last_wins(tmp_path: Path) -> None:
    """A higher number may be left from an earlier run."""
    old = save(tmp_path / 'epoch_12.pth', epoch=12, iter=120)
    os.utime(old, (1, 1))
    save(tmp_path / 'epoch_2.pth', epoch=2, iter=20)
    newest = save(tmp_path / 'epoch_3.pth', epoch=3, iter=30)
    save(tmp_path / 'best_coco_bbox_mAP_epoch_11.pth', epoch=11, iter=110)
    (tmp_path / 'last_checkpoint').write_text('/removed/epoch_12.pth')
    assert find_checkpoint(tmp_path) == (newest, [])


@pytest.mark.parametrize(
    ('train_cfg', 'name'),
    [
        (dict(max_epochs=12), 'epoch_12.pth'),
        (dict(type='IterBasedTrainLoop', max_iters=300), 'iter_300.pth'),
        (dict(max_epochs=None, max_iters=300), 'iter_300.pth'),
    ],
)
def test_the_last_is_named_after_the_length(
    tmp_path: Path, train_cfg: dict[str, Any], name: str
) -> None:
    cfg = Config(dict(train_cfg=train_cfg))
    assert final_checkpoint(cfg, tmp_path) == tmp_path / name


def test_names_follow_the_template(tmp_path: Path) -> None:
    path = save(tmp_path / 'run.7.pth', epoch=7, iter=70)
    assert find_checkpoint(tmp_path).path is None
    assert find_checkpoint(tmp_path, ('run.{}.pth',)).path == path


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
