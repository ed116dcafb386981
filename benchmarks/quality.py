r"""Train the cells of a matrix, arm by seed, and keep a line of each.

A matrix is a YAML file (``benchmarks/matrices``; its keys: ``_cells.py``).
Each cell goes through ``tools/train.py`` into a work dir of its own, several
side by side. A cell that has its line is never run again, one that was
stopped or killed goes on from its newest checkpoint, so that long matrices
can be run in pieces:

    python benchmarks/quality.py benchmarks/matrices/cifar20.yml \
        --jobs 2 --budget-seconds 540

Lines go to ``benchmarks/results/NAME.jsonl``, in the form of
``collect_runs.py``, last epoch, never best, and nothing there is overwritten.
``report.py`` makes tables of them. Exits with 0 when all have a line, 75 when
some are left, 1 when a training has failed.
"""

from __future__ import annotations

import argparse
import ast
import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from _cells import ROOT, Cell, MatrixError, cells, read_matrix
from _running import Running, peak_memory_mb
from collect_runs import RESULTS, read_run
from report import by_arm, compared, read_lines, spread, table
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
        self._mend()
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
            if self._keep(cell):
                continue  # ended as its study was killed
            try:
                self.running.append(Running(cell))
            except BlockingIOError:
                continue  # runs still, for a study that was killed
            self._say(f'starts  {cell.arm}, seed {cell.seed}')

    def _collect(self) -> None:
        for run in list(self.running):
            code = run.poll()
            stop = code is None and (
                self._late()
                or (run.has_new_checkpoint() and self._late(run.interval))
            )
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

    def _keep(self, cell: Cell) -> bool:
        """Write the line of a cell, if it has ended."""
        if not cell.final_checkpoint.exists():
            return False
        try:
            line = read_run(cell.arm, cell.folder)
        except SystemExit:  # killed before its evaluation
            return False
        line['peak_memory_mb'] = line['peak_memory_mb'] or peak_memory_mb(
            cell.folder
        )
        line |= {
            'seed': cell.seed,
            'options': _portable(cell),
            'from': cell.origin,
            'fork': cell.fork,
            'commit': _commit(),
        }
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open('a') as file:
            file.write(json.dumps(line) + '\n')
        values = by_arm(list(self.lines().values()))[cell.arm]
        self._say(
            f'done    {cell.arm}, seed {cell.seed}: {values[cell.seed]:.2f}; '
            f'all seeds {spread([*values.values()])}'
        )
        return True

    def _mend(self) -> None:
        """Take away a line at the end that a kill has cut short."""
        if self.file.exists():
            text = self.file.read_text()
            whole = text[: text.rfind('\n') + 1]
            if whole != text:
                self.file.write_text(whole)

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
                spread(done) if done else '',
                '; '.join(notes),
            )
        return shown


def _portable(cell: Cell) -> dict[str, str]:
    """Return a cell's options without the folders of one machine."""
    return {
        name: str(value).rsplit('/', 1)[-1]
        if str(value).startswith('/')
        else str(value)
        for name, value in cell.options.items()
    }


def _commit() -> str | None:
    """Return the commit that is checked out, with a mark if it was edited."""
    described = subprocess.run(
        ['git', 'describe', '--always', '--dirty', '--abbrev=12'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or None


def _parsed(item: str) -> tuple[str, Any]:
    key, _, value = item.partition('=')
    try:
        return key, ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return key, value


def main() -> None:
    """Run what is left of a matrix, and say what then is."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('matrix', type=Path, help='YAML file')
    parser.add_argument(
        '--arms', nargs='+', help='these alone, and what they need'
    )
    parser.add_argument('--jobs', type=int, default=1, help='side by side')
    parser.add_argument('--budget-seconds', type=float, help='stop then')
    parser.add_argument(
        '--work-dir', type=Path, default=ROOT / 'work_dirs' / 'quality'
    )
    parser.add_argument('--results', type=Path, default=RESULTS)
    parser.add_argument(
        '--set',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='options of all cells, in place of the matrix',
    )
    args = parser.parse_args()
    # So that what runs is stopped too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        matrix = read_matrix(args.matrix)
        given = dict(map(_parsed, args.set))
        matrix['options'] = {**matrix.get('options', {}), **given}
        work_dir = args.work_dir.resolve()
        study = Study(
            args.results / f'{matrix["name"]}.jsonl',
            list(cells(matrix, work_dir, args.arms)),
            args.jobs,
            args.budget_seconds,
        )
        study.run()
    except MatrixError as error:
        sys.exit(f'quality: {error}')
    except KeyboardInterrupt:
        sys.exit('quality: interrupted; the same command goes on from here')
    lines = list(study.lines().values())
    if compared(matrix, lines):
        print(table(matrix, lines))
    left = study.left()
    for cell in left:
        print(f'left    {cell.arm}, seed {cell.seed}')
    sys.exit(1 if study.failed else 75 if left else 0)


if __name__ == '__main__':
    main()
