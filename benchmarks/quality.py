r"""Train the cells of a matrix, arm by seed, and keep a line of each.

A matrix is a YAML file (``benchmarks/matrices``): a teacher, arms, seeds, and
options of their configs. Each cell goes through ``tools/train.py`` into a work
dir of its own, several side by side. A cell that has its line is never run
again, one that was stopped or killed goes on from its newest checkpoint, so
that long matrices can be run in pieces:

    python benchmarks/quality.py benchmarks/matrices/cifar20.yml \
        --jobs 2 --budget-seconds 540

Lines go to ``benchmarks/results/NAME.jsonl``, in the form of
``collect_runs.py``, last epoch, never best, and nothing there is overwritten.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collect_runs import RESULTS, TASKS, read_run
from mmengine.config import Config
from mmengine.fileio import load

from mmtst.engine.resume import final_checkpoint

ROOT = Path(__file__).resolve().parents[1]
_POLL = 0.5


@dataclass(frozen=True)
class Cell:
    """Say what one training is.

    Attributes:
        arm: Of the matrix, or ``teacher``.
        seed: Of ``randomness``.
        config: Path from the root of the project.
        options: What is overridden, by path in the config.
        folder: Its work dir.
        needs: The work dir of the teacher, if it wants one.
    """

    arm: str
    seed: int
    config: str
    options: Mapping[str, Any]
    folder: Path
    needs: Cell | None = None

    @property
    def key(self) -> tuple[str, int]:
        """Return what tells the cell from the others of its matrix."""
        return self.arm, self.seed

    def final_checkpoint(self) -> Path:
        """Return what the training leaves at its end."""
        cfg = Config.fromfile(ROOT / self.config, import_custom_modules=False)
        cfg.merge_from_dict(dict(self.options))
        return final_checkpoint(cfg, self.folder)

    def command(self) -> list[str]:
        """Return the training's command line."""
        options = {**self.options, 'randomness.seed': self.seed}
        if self.needs is not None:
            options['model.teacher_ckpt'] = self.needs.final_checkpoint()
        given = [f'{k}={str(v).replace(" ", "")}' for k, v in options.items()]
        train = [sys.executable, 'tools/train.py', self.config, '--resume']
        folder = str(self.folder)
        return [*train, '--work-dir', folder, '--cfg-options', *given]


def cells(matrix: Mapping[str, Any], root: Path) -> Iterator[Cell]:
    """Yield a matrix's cells, the teacher's first.

    Args:
        matrix: ``name``, ``seeds``, ``teacher``, ``arms``; ``options`` of all
            of them, ``alone`` of single models, ``pair`` of distillations.
        root: Of the work dirs.
    """

    def make(arm: str, seed: int, entry: Any, teacher: Cell | None) -> Cell:
        options = {
            **matrix.get('options', {}),
            **matrix.get('pair' if teacher else 'alone', {}),
            **entry.get('options', {}),
        }
        folder = root / arm.replace(',', '').replace(' ', '-') / str(seed)
        return Cell(arm, seed, entry['config'], options, folder, teacher)

    teacher = make('teacher', 0, matrix['teacher'], None)
    yield teacher
    for seed in matrix['seeds']:
        for arm, entry in matrix['arms'].items():
            wanted = entry.get('teacher', True)
            yield make(arm, seed, entry, teacher if wanted else None)


class Running:
    """Follow a training that runs.

    Args:
        cell: What it is of.
        process: The training.

    Attributes:
        began: When it was started.
        interval: Seconds from checkpoint to checkpoint, the last time.
    """

    def __init__(self, cell: Cell, process: subprocess.Popen[bytes]) -> None:
        self.cell = cell
        self.process = process
        self.began = time.time()
        self.interval = 0.0
        self._known = self._stamp()
        self._since = self.began

    def has_new_checkpoint(self) -> bool:
        """Tell whether a checkpoint has come since this was last asked."""
        stamp = self._stamp()
        if stamp == self._known:
            return False
        now = time.time()
        self._known, self.interval, self._since = stamp, now - self._since, now
        return True

    def _stamp(self) -> int | None:
        file = self.cell.folder / 'last_checkpoint'
        return file.stat().st_mtime_ns if file.exists() else None


class Study:
    """Run the cells that have no line yet.

    Args:
        matrix: See :func:`cells`.
        jobs: Trainings at a time.
        budget: Seconds after which all stops, each training where possible
            just after a checkpoint; ``None`` for no end.
        root: Of the work dirs.
        results: Folder of the lines.
    """

    def __init__(
        self,
        matrix: Mapping[str, Any],
        jobs: int,
        budget: float | None,
        root: Path,
        results: Path = RESULTS,
    ) -> None:
        self.cells = list(cells(matrix, root / matrix['name']))
        self.jobs = jobs
        self.deadline = None if budget is None else time.time() + budget
        self.file = results / f'{matrix["name"]}.jsonl'
        self.running: list[Running] = []
        self.failed: list[Cell] = []
        self.stopped: list[Cell] = []

    def lines(self) -> dict[tuple[str, int], dict[str, Any]]:
        """Return the lines there are, by arm and seed.

        A line that a kill has cut short is left out, and taken away.
        """
        if not self.file.exists():
            return {}
        text = self.file.read_text()
        whole = text[: text.rfind('\n') + 1]
        if whole != text:
            self.file.write_text(whole)
        found = [json.loads(line) for line in whole.splitlines()]
        return {(line['name'], line['seed']): line for line in found}

    def run(self) -> bool:
        """Run until all have a line or time is up; tell whether all have."""
        try:
            while self._left() or self.running:
                self._start()
                time.sleep(_POLL)
                self._collect()
                if not self.running and not self._startable():
                    break
        finally:
            for run in self.running:
                run.process.terminate()
            for run in self.running:
                run.process.wait()
        return not [c for c in self.cells if c.key not in self.lines()]

    def _left(self) -> list[Cell]:
        done = self.lines()
        busy = [run.cell for run in self.running]
        return [
            cell
            for cell in self.cells
            if cell.key not in done
            and cell not in busy
            and cell not in self.failed
            and cell not in self.stopped
        ]

    def _startable(self) -> list[Cell]:
        done = self.lines()
        return [
            cell
            for cell in self._left()
            if (cell.needs is None or cell.needs.key in done)
            and not self._late()
        ]

    def _late(self, seconds: float = 0) -> bool:
        return (
            self.deadline is not None and time.time() + seconds > self.deadline
        )

    def _start(self) -> None:
        for cell in self._startable()[: self.jobs - len(self.running)]:
            if self._keep(cell, 0.0):
                continue  # ended as its study was killed
            cell.folder.mkdir(parents=True, exist_ok=True)
            print(f'starts  {cell.arm}, seed {cell.seed}', flush=True)
            with (cell.folder / 'output.log').open('ab') as log:
                process = subprocess.Popen(
                    cell.command(),
                    cwd=ROOT,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, 'PYTHONPATH': str(ROOT)},
                )
            self.running.append(Running(cell, process))

    def _collect(self) -> None:
        for run in list(self.running):
            code = run.process.poll()
            if code is not None:
                self.running.remove(run)
                if code or not self._keep(run.cell, time.time() - run.began):
                    self.failed.append(run.cell)
                    print(f'failed  {run.cell.folder}/output.log', flush=True)
                continue
            fresh = run.has_new_checkpoint()
            if self._late() or (fresh and self._late(run.interval)):
                run.process.terminate()
                run.process.wait()
                self.running.remove(run)
                self.stopped.append(run.cell)
                print(f'stopped {run.cell.folder}', flush=True)
                self._keep(run.cell, 0.0)

    def _keep(self, cell: Cell, seconds: float) -> bool:
        """Write the line of a cell, if it has ended."""
        if not cell.final_checkpoint().exists():
            return False
        try:
            line = read_run(cell.arm, cell.folder)
        except SystemExit:
            return False
        line |= dict(
            seed=cell.seed,
            # Files by their names alone: the folders are of one machine.
            options={
                k: str(v).rsplit('/', 1)[-1] for k, v in cell.options.items()
            },
            seconds=round(seconds),
            commit=_commit(),
        )
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open('a') as file:
            file.write(json.dumps(line) + '\n')
        print(table(list(self.lines().values())), flush=True)
        return True


def table(lines: list[dict[str, Any]]) -> str:
    """Return a Markdown table: each arm's mean over its seeds, and spread."""
    metrics, percent = TASKS[lines[0]['task']]
    name, title = next(iter(metrics.items()))
    rows = [f'| arm | seeds | {title} |', '|---|--:|--:|']
    for arm in dict.fromkeys(line['name'] for line in lines):
        values = [
            percent * line[name.split('/')[-1]]
            for line in lines
            if line['name'] == arm
        ]
        cell = f'{statistics.fmean(values):.2f}'
        if len(values) > 1:
            cell += f' +- {statistics.stdev(values):.2f}'
        rows.append(f'| {arm} | {len(values)} | {cell} |')
    return '\n'.join(rows)


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


def main() -> None:
    """Run what is left of a matrix, and say what then is."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('matrix', type=Path, help='YAML file')
    parser.add_argument('--jobs', type=int, default=1, help='side by side')
    parser.add_argument('--budget-seconds', type=float, help='stop then')
    parser.add_argument(
        '--work-dir', type=Path, default=ROOT / 'work_dirs' / 'quality'
    )
    parser.add_argument(
        '--set',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='options of all cells, in place of the matrix',
    )
    args = parser.parse_args()
    matrix = load(str(args.matrix))
    for item in args.set:
        key, _, value = item.partition('=')
        try:
            given = ast.literal_eval(value)
        except (SyntaxError, ValueError):
            given = value
        matrix.setdefault('options', {})[key] = given
    work_dir = args.work_dir.resolve()
    study = Study(matrix, args.jobs, args.budget_seconds, work_dir)
    complete = study.run()
    lines = study.lines()
    if lines:
        print(table(list(lines.values())))
    left = [cell for cell in study.cells if cell.key not in lines]
    for cell in left:
        print(f'left    {cell.arm}, seed {cell.seed}')
    sys.exit(0 if complete else 1 if study.failed else 75)


if __name__ == '__main__':
    main()
