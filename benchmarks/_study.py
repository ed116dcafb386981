"""Run the cells of a matrix side by side, and keep a line of each."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from _cells import Cell
from _lines import add_line, check_lines, line_of, lines_by_key
from _matrix import MatrixError
from _metrics import by_arm
from _running import Running, check_note, current_commit, take_lock
from _spread import mean_and_deviation
from collect_runs import UnfinishedRun
from rich.console import Console
from rich.live import Live
from rich.table import Table

_POLL = 0.5


class Study:
    """Run the cells that have no line yet.

    Args:
        file: Of the lines; what is there is kept.
        cells: Each after those it needs.
        jobs: Trainings at a time.
        budget: Seconds after which all stops, each training where possible
            just after a checkpoint; ``None`` for no end.
        arms: Those whose lines are wanted, all if ``None``. What they need
            whole, a teacher say, gets its line too; what they go on from is
            trained up to the fork alone.

    Raises:
        MatrixError: A line is of a cell with other options.
    """

    def __init__(
        self,
        file: Path,
        cells: list[Cell],
        jobs: int,
        budget: float | None,
        arms: Collection[str] | None = None,
    ) -> None:
        self.file = file
        self.cells = cells
        self.asked = {
            needed.key
            for cell in cells
            for needed in cell.needs.values()
            if needed.arm != cell.origin
        } | {cell.key for cell in cells if arms is None or cell.arm in arms}
        self.jobs = jobs
        self.deadline = None if budget is None else time.time() + budget
        self.running: list[Running] = []
        self.failed: dict[tuple[str, int], str] = {}  # what to look at
        self.stopped: list[Cell] = []
        self.waited_for: list[Cell] = []
        self.commit = current_commit()
        check_lines(file, cells)

    def lines(self) -> dict[tuple[str, int], dict[str, Any]]:
        """Return the lines there are, by arm and seed."""
        return lines_by_key(self.file)

    def left(self) -> list[Cell]:
        """Return the cells that want a line and have none."""
        left = self.asked - set(self.lines())
        return [cell for cell in self.cells if cell.key in left]

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
                run.release()

    def _startable(self) -> list[Cell]:
        if self._late():
            return []
        passed = [
            *(run.cell.key for run in self.running),
            *(cell.key for cell in self.stopped),
            *self.failed,
        ]
        return [
            cell
            for cell in self._wanted()
            if cell.key not in passed
            and all(cell.finds(needed) for needed in cell.needs.values())
        ]

    def _wanted(self) -> list[Cell]:
        """Return the cells without a line, and what they need.

        Of that some may have a line, but no checkpoint any more, or not on
        this machine: they are trained again, and keep the line they have.
        """
        wanted: set[tuple[str, int]] = set()

        def want(cell: Cell) -> None:
            wanted.add(cell.key)
            for needed in cell.needs.values():
                if needed.key not in wanted and not cell.finds(needed):
                    want(needed)

        for cell in self.left():
            want(cell)
        return [cell for cell in self.cells if cell.key in wanted]

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
                if self._start_one(cell, lock):
                    continue
            except MatrixError as error:
                self.failed[cell.key] = str(error)
                self._say(f'failed  {error}')
            os.close(lock)

    def _start_one(self, cell: Cell, lock: int) -> bool:
        """Start a cell, unless it has ended meanwhile; tell which.

        Raises:
            MatrixError: What lies there is of no use.
        """
        if not self._keep(cell):
            self.running.append(Running(cell, lock, self.commit))
            self._say(f'starts  {cell.arm}, seed {cell.seed}')
            return True
        if cell in self._wanted():
            raise MatrixError(
                f'{cell.folder}: has ended, but without the checkpoint that '
                'another arm goes on from; remove it to train it again'
            )
        return False

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
            kept = self._keep(run.cell)
            run.release()
            if kept:
                continue
            log = f'{run.cell.folder}/output.log'
            if not stop:
                self.failed[run.cell.key] = log
                self._say(f'failed  {log}')
                continue
            self.stopped.append(run.cell)
            early = '' if run.interval else ', before its next checkpoint'
            self._say(f'stopped {log}{early}')

    def _is_to_stop(self, run: Running) -> bool:
        """Tell whether time is up or too short, or no more is needed."""
        fresh = run.has_new_checkpoint()
        if self._late():
            return True
        # At its end it still validates.
        if not fresh or run.cell.final_checkpoint.exists():
            return False
        return self._late(run.interval) or run.cell not in self._wanted()

    def _keep(self, cell: Cell) -> bool:
        """Write the line of a cell, if it has ended and has none.

        Raises:
            MatrixError: What lies there was trained otherwise.
        """
        if not cell.final_checkpoint.exists():
            return False
        check_note(cell)
        try:
            add_line(self.file, line_of(cell))
        except UnfinishedRun:  # killed before its evaluation
            return False
        values = by_arm(list(self.lines().values()))[cell.arm]
        mean = mean_and_deviation([*values.values()])
        self._say(
            f'done    {cell.arm}, seed {cell.seed}: '
            f'{values[cell.seed]:.2f}; all seeds {mean}'
        )
        return True

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
            notes += ['failed' for name, _ in self.failed if name == arm]
            shown.add_row(
                arm,
                f'{len(done)}/{seeds}',
                mean_and_deviation(done) if done else '',
                '; '.join(notes),
            )
        return shown
