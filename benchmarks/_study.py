"""Run the cells of a matrix side by side, and keep a line of each."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO

from _cells import ROOT, Cell, MatrixError
from _running import Running, commits, peak_memory_mb, take_lock
from _searches import mean_and_deviation, read_searches
from collect_runs import UnfinishedRun, read_run
from report import by_arm, read_lines
from rich.console import Console
from rich.live import Live
from rich.table import Table

_POLL = 0.5
# The folders of a path that begins at the root.
_ABSOLUTE = re.compile(r"""(?<![\w.}])/[^\s'",\]]*/""")


class Study:
    """Run the cells that have no line yet.

    Args:
        file: Of the lines; what is there is kept.
        cells: Each after those it needs.
        jobs: Trainings at a time.
        budget: Seconds after which all stops, each training where possible
            just after a checkpoint; ``None`` for no end.

    Raises:
        MatrixError: A line is of a cell with other options.
    """

    def __init__(
        self, file: Path, cells: list[Cell], jobs: int, budget: float | None
    ) -> None:
        self.file = file
        self.cells = cells
        self.jobs = jobs
        self.deadline = None if budget is None else time.time() + budget
        self.running: list[Running] = []
        self.failed: list[Cell] = []
        self.stopped: list[Cell] = []
        self.waited_for: list[Cell] = []
        self.commit = _commit()
        self._check_lines()

    def lines(self) -> dict[tuple[str, int], dict[str, Any]]:
        """Return the lines there are, by arm and seed."""
        return {(x['name'], x['seed']): x for x in read_lines(self.file)}

    def left(self) -> list[Cell]:
        """Return the cells without a line."""
        done = self.lines()
        return [cell for cell in self.cells if cell.key not in done]

    def run(self) -> None:
        """Run until all have a line, or time is up."""
        console = Console()
        live = (
            Live(console=console, get_renderable=self._table)
            if console.is_terminal
            else nullcontext()
        )
        try:
            with live:
                while self._startable() or self.running:
                    self._start()
                    time.sleep(_POLL)
                    self._collect()
        finally:
            for run in self.running:
                run.stop()
                run.note_memory()

    def _startable(self) -> list[Cell]:
        done = self.lines()
        passed = [
            *(run.cell.key for run in self.running),
            *(cell.key for cell in (*self.failed, *self.stopped)),
        ]
        return [
            cell
            for cell in self.cells
            if cell.key not in done
            and cell.key not in passed
            and self._has_what_it_needs(cell, done)
            and not self._late()
        ]

    def _has_what_it_needs(
        self, cell: Cell, done: Mapping[tuple[str, int], Any]
    ) -> bool:
        fork = cell.fork_checkpoint
        return (fork is None or fork.exists()) and all(
            needed.key in done
            for arm, needed in cell.needs.items()
            if arm != cell.origin
        )

    def _late(self, seconds: float = 0) -> bool:
        return (
            self.deadline is not None and time.time() + seconds > self.deadline
        )

    def _start(self) -> None:
        for cell in self._startable():
            if len(self.running) >= self.jobs:
                return
            lock = take_lock(cell.folder)
            if lock is None:  # runs for another study, maybe a killed one
                if cell not in self.waited_for:
                    self.waited_for.append(cell)
                    self._say(f'waits for {cell.folder}, which runs')
                continue
            try:
                if not self._keep(cell):  # else it has ended meanwhile
                    self.running.append(Running(cell, lock, self.commit))
                    self._say(f'starts  {cell.arm}, seed {cell.seed}')
            finally:
                os.close(lock)

    def _collect(self) -> None:
        for run in list(self.running):
            code = run.poll()
            stop = code is None and self._is_to_stop(run)
            if code is None and not stop:
                continue
            if stop:
                run.stop()
            run.note_memory()
            self.running.remove(run)
            if self._keep(run.cell):
                continue
            (self.stopped if stop else self.failed).append(run.cell)
            self._say(
                f'{"stopped" if stop else "failed "} '
                f'{run.cell.folder}/output.log'
            )

    def _is_to_stop(self, run: Running) -> bool:
        """Tell whether time is up, or will be before the next checkpoint."""
        fresh = run.has_new_checkpoint()
        if self._late():
            return True
        # At its end it still validates.
        ending = run.cell.final_checkpoint.exists()
        return fresh and not ending and self._late(run.interval)

    def _keep(self, cell: Cell) -> bool:
        """Write the line of a cell, if it has ended and has none."""
        if not cell.final_checkpoint.exists():
            return False
        try:
            line = read_run(cell.arm, cell.folder)
        except UnfinishedRun:  # killed before its evaluation
            return False
        line['peak_memory_mb'] = line['peak_memory_mb'] or peak_memory_mb(
            cell.folder
        )
        line |= {
            'seed': cell.seed,
            'options': _portable(cell),
            'from': cell.origin,
            'fork': cell.fork,
            'searches': read_searches(cell.folder),
            'commits': commits(cell.folder),
        }
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open('a+b') as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            _cut_torn_line(file)
            if cell.key in self.lines():
                return True
            file.write(json.dumps(line).encode() + b'\n')
            file.flush()
            os.fsync(file.fileno())
        values = by_arm(list(self.lines().values()))[cell.arm]
        mean = mean_and_deviation([*values.values()])
        self._say(
            f'done    {cell.arm}, seed {cell.seed}: '
            f'{values[cell.seed]:.2f}; all seeds {mean}'
        )
        return True

    def _check_lines(self) -> None:
        done = self.lines()
        for cell in self.cells:
            line = done.get(cell.key)
            if line is None:
                continue
            stem = Path(cell.config).stem
            if (line['config'], line['options']) != (stem, _portable(cell)):
                raise MatrixError(
                    f'{self.file.name}: the line of {cell.arm}, seed '
                    f'{cell.seed} is of other options than the matrix has '
                    'now; give the matrix another name'
                )

    def _say(self, text: str) -> None:
        if not sys.stdout.isatty():
            print(text, flush=True)

    def _table(self) -> Table:
        """Return what is done and what runs, arm by arm."""
        values = by_arm(list(self.lines().values()))
        shown = Table('arm', 'done', 'mean', 'running: seed, at')
        for arm in dict.fromkeys(cell.arm for cell in self.cells):
            seeds = sum(cell.arm == arm for cell in self.cells)
            done = list(values.get(arm, {}).values())
            notes = [
                f'{run.cell.seed}, {run.progress()}'
                for run in self.running
                if run.cell.arm == arm
            ]
            notes += ['failed' for cell in self.failed if cell.arm == arm]
            shown.add_row(
                arm,
                f'{len(done)}/{seeds}',
                mean_and_deviation(done) if done else '',
                '; '.join(notes),
            )
        return shown


def _portable(cell: Cell) -> dict[str, str]:
    """Return a cell's options without the folders of one machine."""
    return {
        name: _ABSOLUTE.sub('', str(value))
        for name, value in cell.options.items()
    }


def _cut_torn_line(file: BinaryIO) -> None:
    """Take away a line at the end that a kill has cut short."""
    file.seek(0)
    content = file.read()
    whole = content.rfind(b'\n') + 1
    if whole < len(content):
        file.truncate(whole)


def _commit() -> str:
    """Return the commit that is checked out, with a mark if it was edited."""
    described = subprocess.run(
        ['git', 'describe', '--always', '--dirty', '--abbrev=12'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or 'unknown'
