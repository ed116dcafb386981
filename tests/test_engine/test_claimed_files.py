"""Test that a checkpoint's word removes and overwrites nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

SCORE = {'save_best': 'score', 'rule': 'greater'}


def start(
    make_runner: Any, train: bool = True, more: Any = None, **options: Any
) -> Any:
    hook = {'type': 'mmtst.SafeCheckpointHook', 'interval': 1, **options}
    runner = make_runner(
        None, default_hooks={'checkpoint': hook}, **(more or {})
    )
    if train:
        runner.train()
    return runner


def resume(make_runner: Any, path: Path, epochs: int = 3, **options: Any):
    """Return a resumed runner, trained; its work dir may be another."""
    more = {
        'load_from': str(path),
        'resume': True,
        'train_cfg': {'by_epoch': True, 'max_epochs': epochs},
    }
    if 'work_dir' in options:
        more['work_dir'] = str(options.pop('work_dir'))
    return start(make_runner, more=more, **options)


def save_best(runner: Any, score: float) -> None:
    hook = next(h for h in runner.hooks if hasattr(h, 'save_best'))
    hook._save_best_checkpoint(runner, {'score': score})


def hub_says(source: Path, target: Path, **info: Any) -> Path:
    """Write a copy of a checkpoint whose message hub says something else."""
    content = torch.load(source, weights_only=False)
    hub = content['message_hub']
    hub['runtime_info'].update(info)
    hub['resumed_keys'].update(dict.fromkeys(info, True))
    torch.save(content, target)
    return target


def log_of(runner: Any) -> str:
    logs = Path(runner.work_dir).glob('*/*.log')
    return max(logs, key=os.path.getmtime).read_text()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob('*.pth'))


def make_victims(tmp_path: Path) -> dict[str, Path]:
    work = tmp_path / 'work'
    folder = tmp_path / 'photos'
    folder.mkdir()
    (folder / 'one.jpg').write_text('mine')
    victims = {
        'outside': tmp_path / 'thesis.pth',
        'folder': folder,
        'work dir': work / 'notes.txt',
        'own folder': work / 'best_score_epoch_7.pth',
        'named so': work / 'best_score_epoch_8.pth',
        'a checkpoint': work / 'epoch_1.pth',
    }
    victims['own folder'].mkdir()
    for name in ('outside', 'work dir', 'named so'):
        victims[name].write_text('mine')
    return victims


@pytest.mark.parametrize('metrics', ['one', 'two'])
def test_a_best_file_named_by_a_checkpoint_stays(
    make_runner, tmp_path: Path, metrics: str
) -> None:
    work = Path(start(make_runner).work_dir)
    victims = make_victims(tmp_path)
    options: dict[str, Any] = SCORE
    suffix = ''
    if metrics == 'two':
        options = {'save_best': ['score', 'other'], 'rule': 'greater'}
        suffix = '_score'
    for victim in (*victims.values(), work / '..' / 'work' / 'notes.txt', 7):
        claim = victim if victim == 7 else str(victim)
        info = {f'best_ckpt{suffix}': claim, f'best_score{suffix}': -1.0}
        path = hub_says(work / 'epoch_2.pth', work / 'epoch_9.pth', **info)
        # In the work dir, as if it were its own; epoch 9 is over the end.
        runner = resume(make_runner, path, **options)
        hook = next(h for h in runner.hooks if hasattr(h, 'save_best'))
        hook._save_best_checkpoint(runner, {'score': 5.0, 'other': 1.0})
        assert f'best_ckpt{suffix}={claim!r}' in log_of(runner)
        assert all(each.exists() for each in victims.values()), victim
        assert (work / 'best_score_epoch_3.pth').is_file()
        (work / 'best_score_epoch_3.pth').unlink()
    assert (victims['folder'] / 'one.jpg').read_text() == 'mine'


@pytest.mark.parametrize('score', ['high', float('nan'), True, [1.0]])
def test_a_best_score_that_is_no_number_does_not_count(
    make_runner, score: Any
) -> None:
    work = Path(start(make_runner).work_dir)
    path = hub_says(work / 'epoch_2.pth', work / 'x.pth', best_score=score)
    runner = resume(make_runner, path, **SCORE)
    assert 'no finite number' in log_of(runner)
    save_best(runner, 1.0)
    assert (work / 'best_score_epoch_3.pth').is_file()


@pytest.mark.parametrize('key', ['outdated_ckpt_ids', 'keep_ckpt_ids'])
@pytest.mark.parametrize(
    'steps', [list(range(50)), [True, 1, '1', 2.0, None, -1], 'all', {1: 2}]
)
def test_checkpoints_named_by_a_checkpoint_stay(
    make_runner, key: str, steps: Any
) -> None:
    work = Path(start(make_runner).work_dir)
    mine = work / 'epoch_40.pth'
    mine.write_text('mine')
    (work / 'epoch_30.pth').mkdir()
    path = hub_says(work / 'epoch_2.pth', work / 'x.pth', **{key: steps})
    before = names(work)
    runner = resume(make_runner, path, epochs=4, max_keep_ckpts=1)
    # Its own one before goes, and only that.
    aside = [name for name in names(work) if '.before_' in name]
    assert len(aside) == 1
    assert aside[0].startswith('epoch_3.before_')
    assert sorted({*names(work)} - {*aside}) == sorted(
        {*before, 'epoch_4.pth'} - {'epoch_3.pth'}
    )
    assert mine.read_text() == 'mine'
    log = log_of(runner)
    assert 'They stay there' in log
    assert key in log


def test_another_work_dir_keeps_the_best_of_the_first(
    make_runner, tmp_path: Path
) -> None:
    first = start(make_runner, **SCORE)
    save_best(first, 1.0)
    old = tmp_path / 'work' / 'best_score_epoch_3.pth'
    assert old.is_file()
    new = tmp_path / 'new'
    runner = resume(
        make_runner, Path(old.parent, 'epoch_3.pth'), 4, work_dir=new, **SCORE
    )
    # The score to beat is still that one.
    save_best(runner, 0.5)
    assert names(new) == ['epoch_4.pth']
    save_best(runner, 2.0)
    assert names(new) == ['best_score_epoch_4.pth', 'epoch_4.pth']
    assert old.is_file()
    assert str(old) in log_of(runner)


def test_a_training_goes_on_removing_its_own(make_runner) -> None:
    first = start(make_runner, max_keep_ckpts=1, **SCORE)
    work = Path(first.work_dir)
    save_best(first, 1.0)
    assert names(work) == ['best_score_epoch_3.pth', 'epoch_3.pth']
    moved = work.with_name('moved')
    work.rename(moved)
    runner = resume(
        make_runner,
        moved / 'epoch_3.pth',
        4,
        work_dir=moved,
        max_keep_ckpts=1,
        **SCORE,
    )
    save_best(runner, 2.0)
    assert names(moved) == ['best_score_epoch_4.pth', 'epoch_4.pth']
    assert 'They stay' not in log_of(runner)


def test_a_file_put_in_the_place_of_an_own_one_stays(make_runner) -> None:
    work = Path(start(make_runner, max_keep_ckpts=2, **SCORE).work_dir)
    assert names(work) == ['epoch_2.pth', 'epoch_3.pth']
    (work / 'epoch_2.pth').write_text('mine')
    resume(make_runner, work / 'epoch_3.pth', 5, max_keep_ckpts=2)
    assert names(work) == ['epoch_2.pth', 'epoch_4.pth', 'epoch_5.pth']
    assert (work / 'epoch_2.pth').read_text() == 'mine'


def test_another_trainings_checkpoint_is_not_written_over(
    make_runner, tmp_path: Path
) -> None:
    work = Path(start(make_runner).work_dir)
    new = tmp_path / 'new'
    new.mkdir()
    (new / 'epoch_3.pth').write_text('mine')
    runner = resume(make_runner, work / 'epoch_2.pth', work_dir=new)
    (aside,) = new.glob('epoch_3.before_*.pth')
    assert aside.read_text() == 'mine'
    assert aside.name in log_of(runner)
    assert torch.load(new / 'epoch_3.pth', weights_only=False)
    # Its own, from an earlier checkpoint of its own, it does.
    resume(make_runner, work / 'epoch_2.pth')
    assert names(work) == ['epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth']


def test_links_and_folders_in_the_way_are_neither_followed_nor_fatal(
    make_runner, tmp_path: Path
) -> None:
    victim = tmp_path / 'victim'
    victim.write_text('mine')
    runner = start(make_runner, train=False)
    work = Path(runner.work_dir)
    linked = ('.checkpoints.json', '..checkpoints.json.tmp', 'epoch_1.pth')
    for name in (*linked, '.epoch_1.pth.partial', '.epoch_2.pth.partial'):
        (work / name).symlink_to(victim)
    for name in ('.epoch_3.pth.partial', 'epoch_2.pth', 'epoch_3.pth'):
        (work / name / 'inner').mkdir(parents=True)
    for name in ('last_checkpoint', '.last_checkpoint.partial'):
        (work / name).symlink_to(victim)
    (work / '.notes.partial').write_text('mine')
    runner.train()
    assert victim.read_text() == 'mine'
    assert (work / '.notes.partial').read_text() == 'mine'
    assert len(list(work.rglob('inner'))) == 3
    for epoch in (1, 2, 3):
        path = work / f'epoch_{epoch}.pth'
        assert path.is_file()
        assert not path.is_symlink()
    assert 'A folder was in the place of' in log_of(runner)


def as_bytes(pointer: Path) -> None:
    pointer.write_bytes(b'\xff\xfe\x00')


def as_folder(pointer: Path) -> None:
    pointer.unlink()
    pointer.mkdir()


def as_nowhere(pointer: Path) -> None:
    pointer.write_text('/gone/epoch_9.pth')


@pytest.mark.parametrize('spoil', [as_bytes, as_folder, as_nowhere])
def test_last_checkpoint_does_not_stop_a_resume(
    make_runner, spoil: Callable[[Path], None]
) -> None:
    work = Path(start(make_runner).work_dir)
    spoil(work / 'last_checkpoint')
    more = {'resume': True, 'train_cfg': {'by_epoch': True, 'max_epochs': 4}}
    runner = start(make_runner, more=more)
    log = log_of(runner)
    assert 'last_checkpoint names no file' in log
    assert 'resumed epoch: 3' in log
    assert (work / 'last_checkpoint').read_text().endswith('epoch_4.pth')
