"""Write scikit-learn's digits in the layout of CIFAR-100, for the demo."""

from __future__ import annotations

import argparse
import sys

from _arguments import output_folder, seed

from mmtst.datasets import write_digits
from mmtst.utils.errors import run_tool


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument('out', type=output_folder, help='folder to write')
    parser.add_argument('--seed', type=seed, default=0)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Write the set and say where it lies."""
    args = parse_args(argv)
    try:
        written = write_digits(args.out, args.seed)
    except ValueError as error:
        sys.exit(f'make_digits: {error}')
    print(
        f'the digits lie in {args.out}'
        if written
        else f'{args.out} holds these digits already'
    )


if __name__ == '__main__':
    run_tool(main)
