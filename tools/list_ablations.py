"""Write out the commands of the paper's ablations, one for each training."""

from __future__ import annotations

import argparse
import itertools
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.fileio import load

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / 'configs' / 'tst' / 'mmpretrain' / 'ablations.yml'


class Ablation(NamedTuple):
    """Say what one training of an ablation is.

    Attributes:
        table: Of the paper.
        name: Of the row: what is varied, joined by hyphens.
        config: Path from the root of the project.
        options: What is overridden, by path in the config.
    """

    table: int
    name: str
    config: Path
    options: dict[str, Any]

    def command(self) -> str:
        """Return the line for a shell that trains it."""
        folder = f'work_dirs/table{self.table}/{self.config.stem}/{self.name}'
        options = [
            f'{key}={_plain(value)}' for key, value in self.options.items()
        ]
        return shlex.join(
            ['python', 'tools/train.py', str(self.config)]
            + ['--work-dir', folder, '--cfg-options', *options]
        )


def _plain(value: Any) -> str:
    return str(value).replace(' ', '')


def expand(file: Path = FILE) -> Iterator[Ablation]:
    """Yield every training that a file of ablations stands for."""
    for entry in load(file):
        rows = itertools.product(*(each.items() for each in entry['vary']))
        for config, row in itertools.product(entry['configs'], rows):
            folder = Path('configs', config.split('_')[0], 'mmpretrain')
            options: dict[str, Any] = {}
            for _, changed in row:
                options |= changed
            yield Ablation(
                entry['table'],
                '-'.join(name for name, _ in row),
                folder / f'{config}.py',
                options,
            )


def main(argv: list[str] | None = None) -> None:
    """Print the commands."""
    parser = argparse.ArgumentParser(description=__doc__)
    tables = sorted({ablation.table for ablation in expand()})
    parser.add_argument(
        '--table',
        type=int,
        choices=tables,
        help='of the paper (default: all of them)',
    )
    args = parser.parse_args(argv)
    for ablation in expand():
        if args.table in (None, ablation.table):
            print(ablation.command())


if __name__ == '__main__':
    main()
