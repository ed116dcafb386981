"""Run programs side by side, log what they print, show how far they are."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from scripts.bootstrap.errors import SetupError

# Where there is no terminal a line is printed this often, in seconds.
_PLAIN_INTERVAL = 15.0
# Lines of pip that name this machine's package sources, of use to nobody.
_NOISE = re.compile(r'\s*(Looking in |WARNING: Location )')
_HINTS = (
    (r'No space left on device', 'free some disk space, then: make setup'),
    (
        r'Killed|cannot allocate memory|out of memory',
        'too little memory for so many compilers: MAX_JOBS=1 make setup',
    ),
    (
        r'ConnectionError|NewConnectionError|Temporary failure in name'
        r'|ReadTimeout|timed out|ProxyError|SSLError',
        'no way to the package index; what is done is kept: make setup',
    ),
    (
        r'No matching distribution found',
        "the package index offers no such version for this machine's Python",
    ),
)


class Task:
    """Run one program in the background.

    Args:
        name: What the status line calls it.
        command: Program and arguments.
        log: Where its output goes.
        read: Gives the status that an output line stands for, or ``None``.
        env: Environment variables to add to this process's.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        read: Callable[[str], str | None],
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self.status = 'starting'
        self.seconds = 0.0
        self._read = read
        self._start = time.monotonic()
        self._process = subprocess.Popen(
            list(command),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors='replace',
            env={**clean_environment(), **(env or {})},
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._follow, daemon=True)
        self._reader.start()

    def is_done(self) -> bool:
        """Tell whether the program ended and its output is read."""
        return not self._reader.is_alive() and self._process.poll() is not None

    def stop(self) -> None:
        """End the program and what it started."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait()

    def check(self) -> None:
        """Raise if the program failed.

        Raises:
            SetupError: With the end of its output.
        """
        if self._process.returncode == 0:
            return
        lines = self.log.read_text(errors='replace').splitlines()
        shown = [line[:300] for line in lines if not _NOISE.match(line)]
        text = '\n'.join(shown)
        hints = [fix for cause, fix in _HINTS if re.search(cause, text, re.I)]
        raise SetupError(
            f'{self.name} failed',
            got='\n'.join(shown[-25:]),
            fix='\n'.join([*hints, f'all it printed: {self.log}']),
        )

    def _follow(self) -> None:
        pipe = self._process.stdout
        with self.log.open('w') as log:
            for line in pipe or ():
                log.write(line)
                log.flush()
                status = self._read(line)
                if status is not None:
                    self.status = status
        self._process.wait()
        self.seconds = time.monotonic() - self._start
        self.status = 'done'


def run_tasks(*tasks: Task) -> None:
    """Wait for all tasks, showing how far they are.

    Raises:
        SetupError: One failed; the others are stopped.
    """
    start = shown = time.monotonic()
    terminal = sys.stdout.isatty()
    last = ''
    try:
        while True:
            done = [task for task in tasks if task.is_done()]
            for task in done:
                task.check()
            if len(done) == len(tasks):
                break
            now = time.monotonic()
            line = ', '.join(f'{task.name} {task.status}' for task in tasks)
            line = f'      {now - start:4.0f} s  {line}'
            if terminal:
                width = os.get_terminal_size().columns - 1
                print(f'\r{line[:width]:<{width}}', end='', flush=True)
            elif now - shown >= _PLAIN_INTERVAL and line != last:
                print(line, flush=True)
                shown, last = now, line
            time.sleep(0.1)
    finally:
        for task in tasks:
            task.stop()
        if terminal:
            width = os.get_terminal_size().columns - 1
            print(f'\r{"":<{width}}\r', end='')


def ask(
    program: str | Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run a short program and keep what it prints."""
    return subprocess.run(
        [str(program), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=clean_environment(),
    )


def read_pip(line: str) -> str | None:
    """Read pip's output: what it downloads or installs."""
    match = re.match(r'\s*Downloading (\S+)(.*)', line)
    if match:
        name = match[1].rsplit('/', 1)[-1].split('-', 1)[0]
        return f'downloading {name}{match[2].rstrip()}'
    if line.startswith('Installing collected packages'):
        return f'installing {line.count(",") + 1} packages'
    return None


def read_ninja(line: str) -> str | None:
    """Read ninja's output: files compiled of all."""
    match = re.match(r'\s*(\[\d+/\d+\])', line)
    return match[1] if match else None


def read_imports(line: str) -> str | None:
    """Read the check's output: what it imports."""
    return line[7:].rstrip() if line.startswith('import ') else None


def clean_environment() -> dict[str, str]:
    """Copy the environment without what would leak other packages in."""
    dropped = (
        'PYTHONPATH',
        'PYTHONHOME',
        'VIRTUAL_ENV',
        '__PYVENV_LAUNCHER__',
    )
    env = {k: v for k, v in os.environ.items() if k not in dropped}
    env['PIP_DISABLE_PIP_VERSION_CHECK'] = '1'
    env['PYTHONNOUSERSITE'] = '1'
    env['PYTHONUNBUFFERED'] = '1'
    return env
