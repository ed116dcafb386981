r"""Train the cells of a matrix, arm by seed, and keep a line of each.

A matrix is a YAML file (``benchmarks/matrices``; its keys: ``_matrix.py``).
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
import signal
import sys
from pathlib import Path
from typing import Any

from _cells import cells
from _matrix import ROOT, MatrixError, read_matrix
from _metrics import compared
from _study import Study
from collect_runs import RESULTS
from report import table


def _parsed(item: str) -> tuple[str, Any]:
    key, given, value = item.partition('=')
    if not given:
        raise MatrixError(f'--set: must be KEY=VALUE, got {item!r}')
    try:
        return key, ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return key, value


def main() -> None:
    """Run what is left of a matrix, and say what then is."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('matrix', type=Path, help='YAML file')
    parser.add_argument(
        '--arms', nargs='+', help='these alone, and of others what they need'
    )
    parser.add_argument(
        '--seeds', nargs='+', type=int, help='these, not those of the matrix'
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
        help='options of all cells, over those of the matrix',
    )
    args = parser.parse_args()
    # So that what runs is stopped too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        matrix = read_matrix(args.matrix)
        given = dict(map(_parsed, args.set))
        matrix['set'] = given
        if args.seeds:
            matrix['seeds'] = args.seeds
        work_dir = args.work_dir.resolve()
        study = Study(
            args.results / f'{matrix["name"]}.jsonl',
            list(cells(matrix, work_dir, args.arms)),
            args.jobs,
            args.budget_seconds,
            args.arms,
        )
        study.run()
    except MatrixError as error:
        sys.exit(f'quality: {error}')
    except KeyboardInterrupt:
        sys.exit('quality: interrupted; the same command goes on from here')
    lines = list(study.lines().values())
    if compared(matrix, lines):
        print(table(matrix, lines))
    for reason in study.failed.values():
        print(f'failed  {reason}')
    left = study.left()
    for cell in left:
        print(f'left    {cell.arm}, seed {cell.seed}')
    sys.exit(1 if study.failed else 75 if left else 0)


if __name__ == '__main__':
    main()
