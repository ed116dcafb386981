"""Test that there is a whole checkpoint at every moment."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.fileio import LocalBackend
from mmengine.hooks import Hook

from mmtst.engine import run_lock
from mmtst.engine.resume import find_checkpoint
from mmtst.utils.errors import ConfigError


def run(make_runner, train: bool = True, **options: Any) -> Any:
    hook = {'type': 'mmtst.SafeCheckpointHook', 'interval': 1, **options}
    runner = make_runner(None, default_hooks={'checkpoint': hook})
    if train:
        runner.train()
    return runner


def names(runner: Any) -> list[str]:
    return sorted(path.name for path in Path(runner.work_dir).glob('*.pth'))


def test_old_checkpoints_go_when_the_new_one_is_there(
    make_runner, monkeypatch
) -> None:
    seen = []
    replace, unlink = os.replace, Path.unlink

    def look(path: Path) -> None:
        if path.name.startswith('.'):
            return
        whole = find_checkpoint(path.parent)
        seen.append((whole.path and whole.path.name, whole.skipped))

    def watched_replace(source: Any, target: Any) -> None:
        look(Path(target))
        replace(source, target)
        look(Path(target))

    def watched_unlink(path: Path, missing_ok: bool = False) -> None:
        unlink(path, missing_ok=missing_ok)
        look(path)

    monkeypatch.setattr(os, 'replace', watched_replace)
    monkeypatch.setattr(Path, 'unlink', watched_unlink)
    runner = run(make_runner, max_keep_ckpts=1)
    assert names(runner) == ['epoch_3.pth']
    assert all(skipped == [] for _, skipped in seen)
    newest = [name for name, _ in seen]
    # None before the first is written, and never again.
    assert newest.count(None) == 1
    assert set(newest[1:]) == {f'epoch_{i}.pth' for i in (1, 2, 3)}
    last = Path(runner.work_dir, 'last_checkpoint').read_text()
    assert last == str(Path(runner.work_dir, 'epoch_3.pth'))
    assert not list(Path(runner.work_dir).glob('.*.partial'))


@pytest.mark.parametrize('keep', [-1, 1, 2])
def test_as_many_are_kept_as_asked_after_a_resume_too(
    make_runner, keep: int
) -> None:
    runner = run(make_runner, max_keep_ckpts=keep)
    expected = ['epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth']
    assert names(runner) == expected[-keep if keep > 0 else 0 :]
    hook = {
        'type': 'mmtst.SafeCheckpointHook',
        'interval': 1,
        'max_keep_ckpts': keep,
    }
    again = make_runner(
        None,
        default_hooks={'checkpoint': hook},
        train_cfg={'by_epoch': True, 'max_epochs': 5},
        load_from=str(Path(runner.work_dir, 'epoch_3.pth')),
        resume=True,
    )
    again.train()
    expected += ['epoch_4.pth', 'epoch_5.pth']
    assert names(again) == expected[-keep if keep > 0 else 0 :]


def full_disk(*failing: str) -> Any:
    """Return a torch.save-like function that fails for some files."""
    original = LocalBackend.put

    def put(self: Any, content: bytes, path: Any) -> None:
        if any(name in str(path) for name in failing):
            original(self, content[: len(content) // 2], path)
            raise OSError(errno.ENOSPC, 'No space left on device', str(path))
        original(self, content, path)

    return put


def test_a_full_disk_loses_nothing_and_the_training_goes_on(
    make_runner, monkeypatch
) -> None:
    monkeypatch.setattr(
        'mmengine.fileio.LocalBackend.put', full_disk('epoch_2')
    )
    runner = run(make_runner, max_keep_ckpts=1)
    assert runner.epoch == 3
    assert names(runner) == ['epoch_3.pth']
    log = next(Path(runner.work_dir).glob('*/*.log')).read_text()
    assert 'epoch_2.pth could not be written' in log
    assert 'No space left on device' in log
    assert 'epoch_1.pth. Make room' in log
    assert not list(Path(runner.work_dir).glob('.*.partial'))


def test_the_last_checkpoint_has_to_be_written(
    make_runner, monkeypatch
) -> None:
    monkeypatch.setattr(
        'mmengine.fileio.LocalBackend.put', full_disk('epoch_3')
    )
    runner = run(make_runner, train=False, max_keep_ckpts=1)
    with pytest.raises(OSError, match='No space left'):
        runner.train()
    assert names(runner) == ['epoch_2.pth']
    last = Path(runner.work_dir, 'last_checkpoint').read_text()
    assert last.endswith('epoch_2.pth')


def test_the_best_one_before_goes_when_the_new_one_is_there(
    make_runner, monkeypatch
) -> None:
    runner = run(make_runner, train=False, save_best='score', rule='greater')
    hook = next(h for h in runner.hooks if hasattr(h, 'save_best'))
    runner.train()
    with monkeypatch.context() as patch:
        patch.setattr('mmengine.fileio.LocalBackend.put', full_disk('best'))
        hook._save_best_checkpoint(runner, {'score': 9.0})
    assert not list(Path(runner.work_dir).glob('best_*.pth'))
    hook._save_best_checkpoint(runner, {'score': 1.0})
    (first,) = Path(runner.work_dir).glob('best_*.pth')
    content = torch.load(first, weights_only=False)
    runner.train_loop._epoch += 1
    monkeypatch.setattr('mmengine.fileio.LocalBackend.put', full_disk('best'))
    hook._save_best_checkpoint(runner, {'score': 2.0})
    assert runner.message_hub.get_info('best_score') == 1.0
    assert list(Path(runner.work_dir).glob('best_*.pth')) == [first]
    assert torch.load(first, weights_only=False)['meta'] == content['meta']
    monkeypatch.undo()
    hook._save_best_checkpoint(runner, {'score': 3.0})
    (second,) = Path(runner.work_dir).glob('best_*.pth')
    assert second != first
    # The runner's own method is back.
    assert 'save_checkpoint' not in vars(runner)


def test_what_a_killed_run_left_is_cleared_away(make_runner) -> None:
    runner = run(make_runner, train=False)
    left = Path(runner.work_dir, '.epoch_9.pth.partial')
    left.write_bytes(b'half')
    runner.train()
    assert not left.exists()


def test_remote_folders_are_refused(make_runner) -> None:
    runner = run(make_runner, train=False, out_dir='s3://bucket/runs')
    with pytest.raises(ConfigError, match='checkpoint.out_dir') as caught:
        runner.train()
    assert "type='CheckpointHook'" in str(caught.value)


def test_a_diverged_student_does_not_push_out_a_good_checkpoint(
    make_runner, monkeypatch
) -> None:
    runner = run(make_runner, train=False, max_keep_ckpts=1)
    step = runner.model.train_step

    def diverging(data: Any, optim_wrapper: Any) -> Any:
        losses = step(data, optim_wrapper)
        if runner.epoch == 1:
            with torch.no_grad():
                runner.model.student.bias.fill_(float('nan'))
        return losses

    monkeypatch.setattr(runner.model, 'train_step', diverging)
    with pytest.raises(RuntimeError, match='diverged') as caught:
        runner.train()
    assert 'student.weight is not finite' in str(caught.value)
    assert 'epoch_1.pth is the last one before' in str(caught.value)
    assert 'clip_grad' in str(caught.value)
    assert names(runner) == ['epoch_1.pth']


def test_what_was_to_be_removed_is_removed_on_resuming(
    make_runner, monkeypatch
) -> None:
    """Killed after the second checkpoint was there, before the first went."""
    runner = run(make_runner, train=False, max_keep_ckpts=1)

    class Killed(BaseException):
        pass

    def kill(hook: Any, steps: Any) -> None:
        if list(steps):
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        hook = next(h for h in runner.hooks if hasattr(h, 'save_best'))
        patch.setattr(type(hook), '_remove', kill)
        runner.train()
    assert names(runner) == ['epoch_1.pth', 'epoch_2.pth']
    options = {
        'type': 'mmtst.SafeCheckpointHook',
        'interval': 1,
        'max_keep_ckpts': 1,
    }
    again = make_runner(
        None,
        default_hooks={'checkpoint': options},
        load_from=str(Path(runner.work_dir, 'epoch_2.pth')),
        resume=True,
    )
    again.train()
    assert names(again) == ['epoch_3.pth']


def test_killed_before_the_new_one_has_its_name_the_old_one_stays(
    make_runner, monkeypatch
) -> None:
    """Its notes say already that the old one is one too many."""
    runner = run(make_runner, train=False, max_keep_ckpts=1)
    replace = os.replace

    class Killed(BaseException):
        pass

    def kill(source: Any, target: Any) -> None:
        if Path(target).name == 'epoch_2.pth':
            raise Killed
        replace(source, target)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(os, 'replace', kill)
        runner.train()
    assert names(runner) == ['epoch_1.pth']
    hook = {
        'type': 'mmtst.SafeCheckpointHook',
        'interval': 1,
        'max_keep_ckpts': 1,
    }
    again = make_runner(
        None,
        default_hooks={'checkpoint': hook},
        train_cfg={'by_epoch': True, 'max_epochs': 2},
        load_from=str(Path(runner.work_dir, 'epoch_1.pth')),
        resume=True,
    )
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(os, 'replace', kill)
        again.train()
    assert names(again) == ['epoch_1.pth']
    again = make_runner(
        None,
        default_hooks={'checkpoint': hook},
        load_from=str(Path(runner.work_dir, 'epoch_1.pth')),
        resume=True,
    )
    again.train()
    assert names(again) == ['epoch_3.pth']


def test_after_a_full_disk_the_notes_are_those_before(
    make_runner, monkeypatch
) -> None:
    runner = run(make_runner, train=False, max_keep_ckpts=1)
    with monkeypatch.context() as patch:
        patch.setattr('mmengine.fileio.LocalBackend.put', full_disk('epoch_2'))
        runner.register_hook(Stop())
        with pytest.raises(KeyboardInterrupt):
            runner.train()
    hook = next(h for h in runner.hooks if hasattr(h, 'save_best'))
    assert (hook._written.kept, hook._written.outdated) == ([1], [])


class Stop(Hook):
    priority = 'LOWEST'

    def after_train_epoch(self, runner: Any) -> None:
        if runner.epoch == 1:
            raise KeyboardInterrupt


def test_the_training_goes_on_without_last_checkpoint(
    make_runner, monkeypatch
) -> None:
    write = Path.write_text

    def full(path: Path, *args: Any, **kwargs: Any) -> Any:
        if 'last_checkpoint' in path.name:
            raise OSError(errno.ENOSPC, 'No space left on device')
        return write(path, *args, **kwargs)

    monkeypatch.setattr(Path, 'write_text', full)
    runner = run(make_runner, max_keep_ckpts=1)
    assert names(runner) == ['epoch_3.pth']
    log = next(Path(runner.work_dir).glob('*/*.log')).read_text()
    assert 'last_checkpoint could not be written' in log


def test_a_second_training_in_the_folder_is_refused_at_its_start(
    make_runner, monkeypatch, tmp_path: Path
) -> None:
    """Its checkpoints' partial files would be those of the first."""
    monkeypatch.chdir(tmp_path)
    runner = run(make_runner, train=False, out_dir='saved')
    loop = runner._train_loop
    left = Path(runner.work_dir, '.epoch_2.pth.partial')
    left.write_bytes(b'being written')
    for busy in (runner.work_dir, 'saved/work'):
        folder = Path(busy).absolute()

        def take(path: Path, folder: Path = folder) -> Any:
            if path.absolute() == folder:
                return run_lock._Refusal(str(path), 'process 7 on host')
            return None

        monkeypatch.setattr(run_lock, '_take', take)
        with pytest.raises(ConfigError) as caught:
            runner.train()
        for word in ('process 7 on host', busy, '--work-dir'):
            assert word in str(caught.value)
        # To evaluate there is something else.
        runner._train_loop = loop
        runner.call_hook('before_run')
    assert left.exists()


class Look(Hook):
    def __init__(self, held: list[bool]) -> None:
        self.held = held

    def after_train(self, runner: Any) -> None:
        self.held.append(is_held(runner))


def is_held(runner: Any) -> bool:
    return os.path.realpath(runner.work_dir) in run_lock._held


def test_a_training_leaves_the_folder_to_the_next_when_it_ends(
    make_runner,
) -> None:
    runner = run(make_runner, train=False)
    held: list[bool] = []
    runner.register_hook(Look(held))
    runner.train()
    assert held == [True]
    assert not is_held(runner)
    # What is evaluated afterwards does not take it again.
    runner.call_hook('before_run')
    assert not is_held(runner)


def test_one_name_for_all_checkpoints_is_refused(make_runner) -> None:
    runner = run(make_runner, train=False, filename_tmpl='epoch.pth')
    with pytest.raises(ConfigError, match='filename_tmpl'):
        runner.train()
    assert names(runner) == []


def test_weights_that_are_not_finite_are_no_start(make_runner) -> None:
    runner = run(make_runner, train=False)
    with torch.no_grad():
        next(runner.model.parameters()).fill_(float('nan'))
    with pytest.raises(ConfigError, match='not finite'):
        runner.train()
    assert names(runner) == []
