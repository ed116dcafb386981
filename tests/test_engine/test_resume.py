"""Test which checkpoint a training goes on from."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.config import Config

from mmtst.engine.resume import (
    TEMPLATES,
    checkpoint_folder,
    final_checkpoint,
    find_checkpoint,
    use_latest_checkpoint,
)
from mmtst.utils.errors import ConfigError


def save(path: Path, **meta: Any) -> Path:
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


@pytest.mark.parametrize(
    'meta',
    [
        dict(epoch=-1, iter=20),
        dict(epoch=2, iter=20.0),
        dict(epoch=True, iter=20),
        dict(epoch=2, iter='20'),
        dict(epoch=2),
    ],
)
def test_one_that_stands_nowhere_is_left_out(
    tmp_path: Path, meta: dict[str, Any]
) -> None:
    whole = save(tmp_path / 'epoch_1.pth', epoch=1, iter=10)
    os.utime(whole, (1, 1))
    save(tmp_path / 'epoch_2.pth', **meta)
    found = find_checkpoint(tmp_path)
    assert found.path == whole
    assert 'at which iteration' in found.skipped[0][1]


def test_what_is_no_file_is_left_out(tmp_path: Path) -> None:
    whole = save(tmp_path / 'epoch_1.pth', epoch=1, iter=10)
    (tmp_path / 'epoch_2.pth').mkdir()
    (tmp_path / 'epoch_3.pth').symlink_to(tmp_path / 'gone')
    os.mkfifo(tmp_path / 'epoch_4.pth')
    found = find_checkpoint(tmp_path)
    assert found.path == whole
    assert len(found.skipped) == 3


def start(folder: Path) -> SimpleNamespace:
    """Return what of a runner says where to resume from."""
    return SimpleNamespace(
        work_dir=str(folder),
        logger=logging.getLogger('test_resume'),
        _resume=True,
        _load_from=None,
    )


def test_the_named_one_is_taken_and_else_the_newest(tmp_path: Path) -> None:
    named = save(tmp_path / 'epoch_1.pth', epoch=1, iter=10)
    os.utime(named, (1, 1))
    newest = save(tmp_path / 'epoch_2.pth', epoch=2, iter=20)
    (tmp_path / 'last_checkpoint').write_text(str(named))
    runner = start(tmp_path)
    use_latest_checkpoint(runner, tmp_path, TEMPLATES[0])
    assert runner._load_from == str(named)
    (tmp_path / 'last_checkpoint').write_text('/gone/epoch_7.pth')
    runner = start(tmp_path)
    use_latest_checkpoint(runner, tmp_path, TEMPLATES[0])
    assert runner._load_from == str(newest)


def test_without_any_it_starts_anew_but_not_over_broken_ones(
    tmp_path: Path,
) -> None:
    runner = start(tmp_path)
    use_latest_checkpoint(runner, tmp_path, TEMPLATES[0])
    assert (runner._resume, runner._load_from) == (False, None)
    (tmp_path / 'epoch_1.pth').write_bytes(b'half')
    with pytest.raises(ConfigError, match='none can be read') as caught:
        use_latest_checkpoint(start(tmp_path), tmp_path, TEMPLATES[0])
    assert 'epoch_1.pth' in str(caught.value)


def test_checkpoints_lie_where_mmengine_puts_them() -> None:
    assert checkpoint_folder('/runs/a', None) == Path('/runs/a')
    assert checkpoint_folder('/runs/a', '/runs/a') == Path('/runs/a')
    assert checkpoint_folder('/runs/a/', '/big') == Path('/big/a')
