"""Follow a training in another process, and no two in one folder."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from _cells import Cell
from _matrix import ROOT, MatrixError

_PROGRESS = re.compile(rb'(?:Epoch|Iter)\(train\)\s+\[\s*(\d+)[\]/]')
_TAIL = 4000
NOTE = 'cell.json'


def take_lock(folder: Path) -> int | None:
    """Lock a work dir; return the file to close, ``None`` if it is taken.

    A training inherits the lock of its work dir and holds it while it lives,
    also when the process that started it has been killed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / 'lock', os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


class Running:
    """Follow a training that runs.

    Args:
        cell: What is to be trained, or gone on with.
        lock: On its work dir; held until :meth:`release`.
        commit: Of the code, to be noted.

    Attributes:
        interval: Seconds from checkpoint to checkpoint, the last time.

    Raises:
        MatrixError: What lies in the work dir was trained otherwise.
    """

    def __init__(self, cell: Cell, lock: int, commit: str) -> None:
        self.cell = cell
        self._lock = lock
        self._prepare()
        _append(cell.folder / 'commits', commit)
        with self._log.open('ab') as log:
            self.process = subprocess.Popen(
                cell.command,
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, 'PYTHONPATH': str(ROOT)},
                pass_fds=(lock,),
            )
        self.began = self._since = time.time()
        self.interval = 0.0
        self._known = self._stamp()
        self._peak = 0

    @property
    def _log(self) -> Path:
        return self.cell.folder / 'output.log'

    def _prepare(self) -> None:
        """Put in what the training goes on from, and note what it is."""
        cell = self.cell
        for needed in cell.needs.values():
            check_note(needed)
        note = cell.folder / NOTE
        if note.exists():
            check_note(cell)
        else:
            part = cell.folder / 'cell.part'
            part.write_text(json.dumps(cell.made_of, indent=2))
            part.rename(note)
        source = cell.fork_checkpoint
        if source is not None and not any(cell.folder.glob('*.pth')):
            part = cell.folder / 'origin.part'
            shutil.copy2(source, part)
            part.rename(cell.folder / source.name)

    def poll(self) -> int | None:
        """Return the exit code, ``None`` while it runs."""
        self._peak = max(self._peak, _peak_memory(self.process.pid))
        return self.process.poll()

    def stop(self) -> None:
        """End it; it can go on from its newest checkpoint."""
        self.process.terminate()
        self.process.wait()

    def note_memory(self) -> None:
        """Keep the most memory that it has used, over all its pieces."""
        if self._peak:
            _append(self.cell.folder / 'peak_memory_kb', str(self._peak))

    def release(self) -> None:
        """Leave the work dir to others, when all is noted."""
        os.close(self._lock)

    def has_new_checkpoint(self) -> bool:
        """Tell whether a checkpoint has come since this was last asked."""
        stamp = self._stamp()
        if stamp == self._known:
            return False
        now = time.time()
        self._known, self.interval, self._since = stamp, now - self._since, now
        return True

    def progress(self) -> str:
        """Return the epoch or iteration that was logged last."""
        with self._log.open('rb') as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL))
            found = _PROGRESS.findall(log.read())
        return found[-1].decode() if found else '-'

    def _stamp(self) -> int | None:
        file = self.cell.folder / 'last_checkpoint'
        return file.stat().st_mtime_ns if file.exists() else None


def check_note(cell: Cell) -> None:
    """Raise unless what lies in a work dir is of its cell.

    Raises:
        MatrixError: It was trained otherwise, or nobody knows how.
    """
    note = cell.folder / NOTE
    try:
        found = json.loads(note.read_text())
    except FileNotFoundError:
        found = None
    if found != cell.made_of:
        raise MatrixError(
            f'{cell.folder}: what lies there was trained otherwise, as its '
            f'{NOTE} says; remove it, or give the matrix another name'
        )


def peak_memory_mb(folder: Path) -> int | None:
    """Return the most memory that a training used, where it was seen."""
    seen = [int(line) for line in _lines(folder / 'peak_memory_kb')]
    return max(seen) // 1024 if seen else None


def current_commit() -> str:
    """Return the commit that is checked out, with a mark if it was edited.

    Lines of results are no edit.
    """
    commit = _git('rev-parse', '--short=12', 'HEAD')
    where = ('.', ':!benchmarks/results')
    edited = _git('status', '--porcelain', '-uno', '--', *where)
    return f'{commit}-dirty' if edited else commit or 'unknown'


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ['git', *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()


def commits(folder: Path) -> list[str]:
    """Return the commits that a training was run with."""
    return sorted(set(_lines(folder / 'commits')))


def _append(file: Path, line: str) -> None:
    with file.open('a') as opened:
        opened.write(f'{line}\n')


def _lines(file: Path) -> list[str]:
    return file.read_text().split() if file.exists() else []


def _peak_memory(pid: int) -> int:
    """Return the most memory a process has had, in KiB; 0 if not known."""
    try:
        status = Path(f'/proc/{pid}/status').read_text()
    except OSError:  # it has ended, or this is no Linux
        return 0
    found = re.search(r'VmHWM:\s+(\d+) kB', status)
    return int(found[1]) if found else 0
