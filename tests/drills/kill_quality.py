"""Kill ``benchmarks/quality.py`` at random points, and start it again.

    python tests/drills/kill_quality.py [--kills 10] [--seed 0]

The lines have to be those of a study that was never killed. Every second
time the script alone is killed, and its trainings live on.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

from studies import finish, kill, outcome, start, write_matrix


def main() -> None:
    """Compare a study with one that is killed over and over."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--kills', type=int, default=10)
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        matrix = write_matrix(folder)
        began = time.monotonic()
        finish(start(matrix, folder / 'whole'))
        whole = time.monotonic() - began
        expected = outcome(folder / 'whole')
        print(f'whole: {len(expected)} lines in {whole:.0f} s', flush=True)
        killed = folder / 'killed'
        struck = studies = 0
        while struck < args.kills:
            process = start(matrix, killed / str(studies))
            time.sleep(rng.uniform(1, whole / 3))
            if process.poll() is None:
                kill(process, trainings_too=struck % 2 == 0)
                struck += 1
                print(f'killed {struck}', flush=True)
                continue
            _compare(killed / str(studies), expected)
            studies += 1
        finish(start(matrix, killed / str(studies)))
        _compare(killed / str(studies), expected)


def _compare(folder: Path, expected: object) -> None:
    same = outcome(folder) == expected
    print(f'a killed study: {"the same" if same else "OTHER"} lines')
    if not same:
        raise SystemExit('not survived')


if __name__ == '__main__':
    main()
