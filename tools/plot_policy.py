"""Plot the course of learned policies (Figures 2 and 4 of the TST paper)."""

from __future__ import annotations

import argparse
from pathlib import Path

from _arguments import check_files_to_write, output_folder
from _common import run

from mmtst.augmentation import OPERATORS
from mmtst.engine.policy_log import read_policy_log
from mmtst.utils.errors import ConfigError
from mmtst.visualization import (
    PolicyCurves,
    plot_all,
    plot_selected,
    policy_curves,
)
from mmtst.visualization.policy_plots import SELECTED_OPERATORS


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'files',
        nargs='+',
        help='policy.jsonl of a run, or its work dir; several are overlaid',
    )
    parser.add_argument(
        '--labels',
        nargs='+',
        help='a name for each file, such as the pair; by default the folder',
    )
    parser.add_argument(
        '--operators',
        nargs='+',
        choices=OPERATORS,
        metavar='NAME',
        default=list(SELECTED_OPERATORS),
        help='which to show in policy_selected.png',
    )
    parser.add_argument(
        '--out-dir',
        type=output_folder,
        default='.',
        help='folder for the plots',
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Plot, and say where the files lie."""
    args = parse_args(argv)
    files = [_find(Path(name)) for name in args.files]
    labels = args.labels or [path.resolve().parent.name for path in files]
    if len(labels) != len(files):
        raise ConfigError(
            'there must be one label for each file',
            where='--labels',
            got=f'{len(labels)} labels for {len(files)} files',
        )
    selected = Path(args.out_dir) / 'policy_selected.png'
    every = Path(args.out_dir) / 'policy_all.png'
    check_files_to_write('--out-dir', [selected, every])
    curves = [
        _curves(path, label) for path, label in zip(files, labels, strict=True)
    ]
    plot_selected(curves, selected, args.operators)
    plot_all(curves, every)
    print(f'selected operators: {selected}')
    print(f'all operators:      {every}')


def _curves(path: Path, label: str) -> PolicyCurves:
    """Read the curves of a file; errors name it."""
    try:
        return policy_curves(read_policy_log(path), label)
    except ConfigError as error:
        raise ConfigError(f'{path}: {error}') from error


def _find(path: Path) -> Path:
    """Return the file; of a work dir the newest one below it."""
    if path.is_dir():
        found = sorted(
            path.rglob('policy.jsonl'), key=lambda file: file.stat().st_mtime
        )
        if found:
            return found[-1]
        path = path / 'policy.jsonl'
    if not path.is_file():
        raise ConfigError(
            'the policy log is not there',
            where='files',
            got=str(path),
            fix='give the policy.jsonl that a run with PolicySearchHook wrote '
            'into its work dir',
        )
    return path


if __name__ == '__main__':
    run(main)
