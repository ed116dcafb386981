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

from _cells import ROOT, Cell, MatrixError

_PROGRESS = re.compile(rb'(?:Epoch|Iter)\(train\)\s+\[\s*(\d+)[\]/]')
_TAIL = 4000


class Running:
    """Follow a training that runs.

    The training holds a lock on its work dir while it lives, also when the
    process that started it has been killed.

    Args:
        cell: What is to be trained, or gone on with.

    Attributes:
        interval: Seconds from checkpoint to checkpoint, the last time.

    Raises:
        BlockingIOError: A training runs in this work dir already.
        MatrixError: What lies in the work dir was trained otherwise.
    """

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        cell.folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(cell.folder / 'lock', os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._prepare()
            with self._log.open('ab') as log:
                self.process = subprocess.Popen(
                    cell.command,
                    cwd=ROOT,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, 'PYTHONPATH': str(ROOT)},
                    # With it the lock.
                    pass_fds=(lock,),
                )
        finally:
            os.close(lock)
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
        note = cell.folder / 'cell.json'
        made_of = {
            'config': cell.config,
            'options': dict(cell.options),
            'from': cell.origin,
            'fork': cell.fork,
        }
        whole = json.dumps(made_of, indent=2)
        if not note.exists():
            source = cell.fork_checkpoint
            if source is not None:
                part = cell.folder / 'origin.part'
                shutil.copy2(source, part)
                part.rename(cell.folder / source.name)
            note.write_text(whole)
        elif note.read_text() != whole:
            raise MatrixError(
                f'{cell.folder}: what lies there was trained with other '
                'options; remove it, or give the matrix another name'
            )

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
            with (self.cell.folder / 'peak_memory_kb').open('a') as file:
                file.write(f'{self._peak}\n')

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


def peak_memory_mb(folder: Path) -> int | None:
    """Return the most memory that a training used, where it was seen."""
    file = folder / 'peak_memory_kb'
    if not file.exists():
        return None
    return max(map(int, file.read_text().split())) // 1024


def _peak_memory(pid: int) -> int:
    """Return the most memory a process has had, in KiB; 0 if not known."""
    try:
        status = Path(f'/proc/{pid}/status').read_text()
    except OSError:  # it has ended, or this is no Linux
        return 0
    found = re.search(r'VmHWM:\s+(\d+) kB', status)
    return int(found[1]) if found else 0
