"""Keep a work dir to one training at a time.

The lock is a POSIX record lock on a small file in the folder. The kernel
gives it up when the process ends, however it ends, and a forked child does
not inherit it: workers that outlive a killed training hold nothing. (A lock
of ``flock`` would live on in them.) It is lost where the process itself
opens the file once more and closes it, as in copying the whole folder, and so
taken again from time to time.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import socket
import stat
import time
from pathlib import Path
from typing import NamedTuple

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.logging import print_log

from mmtst.engine.side_files import parse_json
from mmtst.utils.errors import ConfigError

LOCK_FILE = '.run.lock'
_HELD_BY_ANOTHER = (errno.EACCES, errno.EAGAIN)
_MOST_BYTES = 4096


class _Held(NamedTuple):
    """Note a lock of this process.

    Attributes:
        descriptor: Of the open lock file.
        pid: A forked child has its parent's notes, but not its locks.
    """

    descriptor: int
    pid: int


class _Refusal(NamedTuple):
    """Say why a training cannot have a folder.

    Attributes:
        folder: The folder.
        holder: Who has it, if anybody does.
        why: Why it cannot be written to, if it cannot.
    """

    folder: str
    holder: str | None
    why: str = ''

    def error(self) -> ConfigError:
        """Word it."""
        if self.holder is None:
            return ConfigError(
                f'nothing can be written into the folder: {self.why}',
                where='work_dir',
                got=self.folder,
                allowed='a folder that is there and can be written to, or can '
                'be made',
                fix='name another one with --work-dir (or out_dir of '
                'default_hooks.checkpoint), or let it be written to',
            )
        return ConfigError(
            f'a training runs in this folder already: {self.holder}',
            where='work_dir',
            got=self.folder,
            allowed='a folder in which no other training runs',
            fix='give this one its own with --work-dir (or out_dir of '
            'default_hooks.checkpoint), or wait for the other, or stop it',
        )


_held: dict[str, _Held] = {}


def lock_folders(*folders: str | Path) -> None:
    """Take the folders of a training for this process, on all ranks.

    The first rank takes them, and all hear of the outcome. Folders that this
    process holds already stay its own. On a file system without locks a line
    in the log says so.

    Args:
        folders: Of the training; made where they are missing.

    Raises:
        ConfigError: Another process trains in one of them, or nothing can be
            written there.
    """
    refused: list[_Refusal | None] = [None]
    if is_main_process():
        for folder in folders:
            refused = [_take(Path(folder))]
            if refused[0] is not None:
                break
    broadcast_object_list(refused)
    if refused[0] is not None:
        raise refused[0].error()


def lock_early(folder: str | Path) -> None:
    """Take a folder before the processes of a launcher know each other.

    Only the first process does; where it is refused, its launcher stops the
    others.

    Args:
        folder: The work dir; made where it is missing.

    Raises:
        ConfigError: Another process trains in it, or nothing can be written
            there.
    """
    refused = _take(Path(folder)) if _is_first() else None
    if refused is not None:
        raise refused.error()


def check_free(folder: str | Path) -> None:
    """Refuse a folder in which another process trains; change nothing.

    Args:
        folder: The work dir; need not exist.

    Raises:
        ConfigError: Another process trains in it.
    """
    if not _is_first() or _is_ours(folder):
        return
    try:
        descriptor = _open(Path(folder, LOCK_FILE), os.O_RDWR)
    except OSError:
        return  # None has ever trained there, or nobody can write there.
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD_BY_ANOTHER:
            raise _Refusal(
                str(folder), _describe(descriptor)
            ).error() from None
    finally:
        os.close(descriptor)


def renew_locks() -> None:
    """Take again what this process may have lost by a copy of its folder."""
    for folder, held in list(_held.items()):
        if held.pid != os.getpid():
            continue
        try:
            fcntl.lockf(held.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            print_log(
                f'The lock of {folder} was lost ({error}): '
                f'{_describe(held.descriptor)} may train in it.',
                logger='current',
                level=logging.WARNING,
            )


def unlock_folders(*folders: str | Path) -> None:
    """Give up folders that this process holds, for the next training."""
    for folder in folders:
        held = _held.pop(os.path.realpath(folder), None)
        if held is not None and held.pid == os.getpid():
            os.close(held.descriptor)


def _is_first() -> bool:
    """Say whether a launcher has started this process as its first."""
    ranks = ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK')
    return next((os.environ[r] for r in ranks if r in os.environ), '0') == '0'


def _is_ours(folder: str | Path) -> bool:
    held = _held.get(os.path.realpath(folder))
    return held is not None and held.pid == os.getpid()


def _take(folder: Path) -> _Refusal | None:
    """Lock a folder; say why not, where a training cannot have it."""
    if _is_ours(folder):
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = error.strerror or str(error)
        return _Refusal(str(folder), None, why)
    if not os.access(folder, os.W_OK | os.X_OK):
        return _Refusal(str(folder), None, 'it is read-only')
    try:
        descriptor = _open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        _say_unlocked(folder, error)
        return None
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = _describe(descriptor)
        os.close(descriptor)
        if error.errno in _HELD_BY_ANOTHER:
            return _Refusal(str(folder), holder)
        _say_unlocked(folder, error)
        return None
    _held[os.path.realpath(folder)] = _Held(descriptor, os.getpid())
    _sign(descriptor)
    return None


def _open(path: Path, how: int) -> int:
    """Open the lock file itself: no link, pipe or folder in its place."""
    flags = how | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, 'is no regular file', str(path))
    return descriptor


def _sign(descriptor: int) -> None:
    """Say in the lock file who holds it; the lock does not need it."""
    who = {
        'pid': os.getpid(),
        'host': socket.gethostname(),
        'since': time.strftime('%Y-%m-%d %H:%M:%S'),
    }
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, (json.dumps(who) + '\n').encode(), 0)
    except OSError:
        pass  # A full disk: the next one hears of no name.


def _describe(descriptor: int) -> str:
    """Say who holds a lock, as far as its file tells."""
    try:
        who = parse_json(os.pread(descriptor, _MOST_BYTES, 0))
        pid, host, since = who['pid'], who['host'], who['since']
    except (OSError, TypeError, KeyError):
        return 'another process'
    known = isinstance(pid, int) and f'{host}{since}'.isprintable()
    if not known:
        return 'another process'
    return f'process {pid} on {host}, since {since}'


def _say_unlocked(folder: Path, error: OSError) -> None:
    print_log(
        f'{folder} could not be locked ({error}): take care that no other '
        'training runs in it.',
        logger='current',
    )
