"""Run commands that depend on one another, and skip what is done."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Future,
    ThreadPoolExecutor,
    wait,
)
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_EPOCH = re.compile(
    r'Epoch\(train\)\s+\[\s*(\d+)\]\[\s*(\d+)/\s*(\d+)\].*?\bloss: ([\d.]+)'
)
_ITERATION = re.compile(
    r'Iter\(train\)\s+\[\s*(\d+)/\s*(\d+)\].*?\bloss: ([\d.]+)'
)
_AP = re.compile(r'(?:Epoch|Iter)\(val\).*bbox_mAP: (-?[\d.]+)')
_MIOU = re.compile(r'(?:Epoch|Iter)\(val\).*\bmIoU: ([\d.]+)')
_TOP1 = re.compile(r'(?:Epoch|Iter)\(val\).*accuracy/top1: ([\d.]+)')
_SEARCH = re.compile(r'(Search step \d+ of \d+: .*)')
_LAST_LINES = 15


@dataclass(frozen=True)
class Step:
    """Say what to run, and what that needs.

    Attributes:
        name: Short; names the log file and the stamp.
        command: Program and arguments.
        output: Folder or file that the command writes; removed before the
            step runs with another command or basis than last time.
        needs: Names of the steps that must be done before.
        title: What the step does, for the terminal.
        basis: Stands for what the result rests on besides the command, such
            as settings in files and the code; compared, never read.
    """

    name: str
    command: tuple[str, ...]
    output: Path
    needs: tuple[str, ...] = ()
    title: str = ''
    basis: str = ''


class StepFailed(RuntimeError):
    """Say that a command ended with an error, and how its log ends."""


class StepRunner:
    """Run steps, some at a time; finished ones are not run again.

    A step is done when its stamp says so for this very command and basis,
    and for those of all that it needs. An unfinished one is run again over
    what it has left behind, so that it may resume.

    Args:
        folder: Holds the stamps and, in ``logs``, what the commands print.
        jobs: How many steps may run at a time.
        environment: Variables for the commands, added to the process's own.
    """

    def __init__(
        self,
        folder: Path,
        jobs: int = 1,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.jobs = jobs
        self.environment = {**os.environ, **(environment or {})}
        self.started = time.monotonic()
        self._processes: list[subprocess.Popen[str]] = []
        self._stopped = False
        self._lock = threading.Lock()
        for name in ('logs', 'stamps'):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def run(self, steps: Sequence[Step]) -> None:
        """Run all steps, each after those it needs.

        Args:
            steps: In an order in which each comes after what it needs.

        Raises:
            StepFailed: A command ended with an error; the others were
                stopped and can go on in another run.
        """
        identities: dict[str, str] = {}
        for step in steps:
            identities[step.name] = _identity(step, identities)
        waiting = list(steps)
        done: set[str] = set()
        running: dict[Future[None], str] = {}
        with ThreadPoolExecutor(self.jobs) as pool:
            try:
                while waiting or running:
                    for step in list(waiting):
                        if done.issuperset(step.needs):
                            waiting.remove(step)
                            job = pool.submit(
                                self._run_step, step, identities[step.name]
                            )
                            running[job] = step.name
                    ended, _ = wait(running, return_when=FIRST_COMPLETED)
                    for job in ended:
                        name = running.pop(job)
                        job.result()
                        done.add(name)
            except BaseException:
                self._stop()
                raise

    def say(self, name: str, text: str) -> None:
        """Print a line with the time since the start."""
        seconds = int(time.monotonic() - self.started)
        clock = f'{seconds // 60:02d}:{seconds % 60:02d}'
        with self._lock:
            print(f'{clock}  {name:<10} {text}', flush=True)

    def log_file(self, step: Step) -> Path:
        """Return where a step's output goes."""
        return self.folder / 'logs' / f'{step.name}.log'

    def _run_step(self, step: Step, identity: str) -> None:
        stamp = self.folder / 'stamps' / f'{step.name}.json'
        last = _read(stamp)
        same = last.get('identity') == identity
        if same and last.get('finished') and step.output.exists():
            self.say(step.name, 'done before, skipped')
            return
        if not same:
            _remove(step.output)
        entry = {'identity': identity, 'command': list(step.command)}
        _write(stamp, {**entry, 'finished': False})
        self.say(step.name, step.title)
        began = time.monotonic()
        code = self._execute(step)
        if code != 0:
            raise StepFailed(self._failure(step, code))
        seconds = time.monotonic() - began
        _write(
            stamp, {**entry, 'finished': True, 'seconds': round(seconds, 1)}
        )
        self.say(step.name, f'done in {seconds:.0f} s')

    def _execute(self, step: Step) -> int:
        with self.log_file(step).open('w', encoding='utf-8') as log:
            with self._lock:
                if self._stopped:
                    return -1
                process = subprocess.Popen(
                    step.command,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors='replace',
                    env=self.environment,
                )
                self._processes.append(process)
            for line in process.stdout or ():
                log.write(line)
                log.flush()
                news = digest(line)
                if news is not None:
                    self.say(step.name, news)
            return process.wait()

    def _failure(self, step: Step, code: int) -> str:
        log = self.log_file(step)
        lines = log.read_text(encoding='utf-8').splitlines()
        ending = '\n'.join(f'    {line}' for line in lines[-_LAST_LINES:])
        return (
            f'{step.name} ended with code {code}; its output ends so:\n'
            f'{ending}\n  the whole of it: {log}\n'
            '  run the same command again to go on from here'
        )

    def _stop(self) -> None:
        """End the commands that run."""
        with self._lock:
            self._stopped = True
            for process in self._processes:
                if process.poll() is None:
                    process.terminate()


def digest(line: str) -> str | None:
    """Shorten a line of a training's log for the terminal.

    Returns:
        News worth a line (the end of an epoch or of 100 iterations, the
        metric of a validation, each 50th step of a search); ``None`` for all
        else.
    """
    if (found := _EPOCH.search(line)) is not None:
        epoch, step, last, loss = found.groups()
        if step == last:
            return f'epoch {epoch}: loss {float(loss):.3f}'
    if (found := _ITERATION.search(line)) is not None:
        step, last, loss = found.groups()
        if int(step) % 100 == 0 or step == last:
            return f'iteration {step}: loss {float(loss):.3f}'
    if (found := _MIOU.search(line)) is not None:
        return f'mIoU {float(found[1]):.1f}'
    if (found := _TOP1.search(line)) is not None:
        return f'top-1 {float(found[1]):.1f}'
    if (found := _AP.search(line)) is not None:
        return f'AP {float(found[1]):.3f}'
    if (found := _SEARCH.search(line)) is not None:
        words = found[1].split()
        if int(words[2]) % 50 == 0:
            return found[1]
    return None


def _identity(step: Step, identities: Mapping[str, str]) -> str:
    """Return a hash of a step and of all that went before it."""
    before = [identities[name] for name in step.needs]
    text = json.dumps([list(step.command), step.basis, before])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    """Read a stamp; what cannot be read is none, and its step runs anew."""
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _write(path: Path, content: Mapping[str, Any]) -> None:
    part = path.with_suffix('.part')
    part.write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')
    os.replace(part, path)
