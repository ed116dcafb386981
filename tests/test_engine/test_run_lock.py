"""Test that a work dir has one training at a time."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist

from mmtst.engine import run_lock
from mmtst.engine.run_lock import (
    LOCK_FILE,
    check_free,
    lock_early,
    lock_folders,
    renew_locks,
    unlock_folders,
)
from mmtst.utils.errors import ConfigError


@pytest.fixture
def in_child() -> Iterator[Callable[[Callable[[], Any]], tuple[int, str]]]:
    """Return a function that runs another one in a child, which stays.

    It returns the child's process id and what the other one returned.
    """
    children = []

    def run(task: Callable[[], Any]) -> tuple[int, str]:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                answer = str(task())
            except BaseException as error:
                answer = f'{type(error).__name__}: {error}'
            os.write(writing, answer.encode() or b' ')
            time.sleep(60)
            os._exit(0)
        children.append(pid)
        os.close(writing)
        with os.fdopen(reading, 'rb') as file:
            return pid, os.read(file.fileno(), 65536).decode()

    yield run
    for pid in children:
        end(pid)


def end(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


@pytest.mark.parametrize('take', [lock_folders, lock_early])
def test_a_second_training_is_refused_with_the_cure(
    in_child, tmp_path: Path, take: Callable[[Path], None]
) -> None:
    pid, _ = in_child(lambda: take(tmp_path))
    for attempt in (lock_folders, lock_early, check_free):
        with pytest.raises(ConfigError) as caught:
            attempt(tmp_path)
        for word in (f'process {pid} on', str(tmp_path), '--work-dir'):
            assert word in str(caught.value)
    # Whoever is killed leaves no lock behind.
    end(pid)
    check_free(tmp_path)
    lock_folders(tmp_path)
    unlock_folders(tmp_path)


def test_a_worker_that_outlives_its_killed_parent_holds_nothing(
    in_child, tmp_path: Path
) -> None:
    def train() -> int:
        lock_folders(tmp_path)
        worker = os.fork()
        if worker == 0:
            time.sleep(60)
            os._exit(0)
        return worker

    parent, worker = in_child(train)
    with pytest.raises(ConfigError):
        lock_folders(tmp_path)
    end(parent)
    try:
        os.kill(int(worker), 0)  # It lives.
        lock_folders(tmp_path)
    finally:
        os.kill(int(worker), signal.SIGKILL)
    unlock_folders(tmp_path)


def test_a_process_may_train_again_where_it_did(
    in_child, tmp_path: Path
) -> None:
    lock_folders(tmp_path)
    lock_folders(tmp_path, tmp_path / 'new')
    check_free(tmp_path)
    # And a child has not its parent's lock.
    _, answer = in_child(lambda: lock_folders(tmp_path))
    assert f'process {os.getpid()} on' in answer
    unlock_folders(tmp_path, tmp_path / 'new')
    assert in_child(lambda: lock_folders(tmp_path))[1] == 'None'


def test_all_ranks_refuse_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hear(answer: list[Any]) -> None:
        answer[:] = [run_lock._Refusal('there', 'process 7 on host')]

    monkeypatch.setattr(run_lock, 'is_main_process', lambda: False)
    monkeypatch.setattr(run_lock, 'broadcast_object_list', hear)
    with pytest.raises(ConfigError, match='process 7 on host'):
        lock_folders(tmp_path)
    assert not list(tmp_path.iterdir())


def test_so_do_real_processes(in_child, tmp_path: Path) -> None:
    work = tmp_path / 'work'

    def join(rank: int) -> None:
        dist.init_process_group(
            'gloo',
            init_method=f'file://{tmp_path}/meeting',
            rank=rank,
            world_size=2,
        )
        try:
            lock_folders(work)
        finally:
            dist.barrier()
            dist.destroy_process_group()

    def second() -> int:
        pid = os.fork()
        if pid == 0:
            try:
                join(1)
                (tmp_path / 'answer').write_text('joined')
            except ConfigError as error:
                (tmp_path / 'answer').write_text(str(error))
            os._exit(0)
        return pid

    def first() -> None:
        pid = second()
        try:
            join(0)
        finally:
            os.waitpid(pid, 0)

    holder, _ = in_child(lambda: lock_folders(work))
    _, answer = in_child(first)
    for text in (answer, (tmp_path / 'answer').read_text()):
        assert f'process {holder} on' in text
    end(holder)
    (tmp_path / 'meeting').unlink(missing_ok=True)
    _, answer = in_child(first)
    assert answer == 'None'
    assert (tmp_path / 'answer').read_text() == 'joined'


@pytest.mark.parametrize('name', ['RANK', 'SLURM_PROCID'])
def test_only_the_first_process_of_a_launcher_takes_it(
    in_child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    in_child(lambda: lock_folders(tmp_path))
    monkeypatch.setenv(name, '1')
    check_free(tmp_path)
    lock_early(tmp_path)
    monkeypatch.setenv(name, '0')
    with pytest.raises(ConfigError):
        lock_early(tmp_path)


def test_looking_changes_nothing(tmp_path: Path) -> None:
    check_free(tmp_path)
    check_free(tmp_path / 'not' / 'yet')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('code', [errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_there_is_a_line_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, code: int
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, 'lockf', fail)
    said = []
    monkeypatch.setattr(
        run_lock, 'print_log', lambda text, **_: said.append(text)
    )
    check_free(tmp_path)
    lock_folders(tmp_path)
    assert os.strerror(code) in said[0]


@pytest.mark.parametrize('kind', ['link', 'folder', 'pipe'])
def test_nothing_is_written_to_what_is_no_lock_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    victim = tmp_path / 'victim'
    victim.write_text('mine')
    work = tmp_path / 'work'
    work.mkdir()
    if kind == 'link':
        (work / LOCK_FILE).symlink_to(victim)
    elif kind == 'folder':
        (work / LOCK_FILE).mkdir()
    else:
        os.mkfifo(work / LOCK_FILE)
    said = []
    monkeypatch.setattr(
        run_lock, 'print_log', lambda text, **_: said.append(text)
    )
    lock_folders(work)
    assert 'could not be locked' in said[0]
    assert victim.read_text() == 'mine'


@pytest.mark.parametrize(
    'text',
    [
        b'',
        b'\xff',
        b'[' * 4000,
        b'{"pid": ' + b'9' * 4000,
        b'[1]',
        json.dumps(dict(pid='x', host='a', since='b')).encode(),
        json.dumps(dict(pid=1, host='\x1b[2J', since='b')).encode(),
    ],
)
def test_a_lock_file_may_say_anything(
    in_child, tmp_path: Path, text: bytes
) -> None:
    def hold() -> None:
        lock_folders(tmp_path)
        descriptor = run_lock._held[os.path.realpath(tmp_path)].descriptor
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text, 0)

    in_child(hold)
    with pytest.raises(ConfigError, match='another process'):
        lock_folders(tmp_path)


@pytest.mark.parametrize('take', [lock_folders, lock_early])
def test_a_folder_that_cannot_be_written_is_refused_at_the_start(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    take: Callable[[Path], None],
) -> None:
    (tmp_path / 'file').write_text('mine')
    for folder in ('file', 'file/below'):
        with pytest.raises(ConfigError, match='nothing can be') as caught:
            take(tmp_path / folder)
        assert '--work-dir' in str(caught.value)
    monkeypatch.setattr(os, 'access', lambda *_: False)
    with pytest.raises(ConfigError, match='read-only'):
        take(tmp_path)
    assert (tmp_path / 'file').read_text() == 'mine'


def test_a_lock_lost_by_copying_the_folder_is_taken_again(
    in_child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / 'work'
    lock_folders(work)
    shutil.copytree(work, tmp_path / 'copy')
    renew_locks()
    assert 'ConfigError' in in_child(lambda: lock_folders(work))[1]
    # Unless another was quicker.
    shutil.copytree(work, tmp_path / 'another')
    pid, _ = in_child(lambda: lock_folders(work))
    said: list[str] = []
    monkeypatch.setattr(
        run_lock, 'print_log', lambda text, **_: said.append(text)
    )
    renew_locks()
    assert any(f'process {pid} on' in text for text in said)
    unlock_folders(work)
