"""Write the small synthetic shapes set that the demo trains on."""

from __future__ import annotations

import argparse
import sys
import time

from _arguments import output_folder, seed, whole

from mmtst.datasets import ShapesSettings, write_shapes
from mmtst.datasets.shapes_writer import LAYOUTS
from mmtst.utils.errors import run_tool


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    default = ShapesSettings()
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument('out', type=output_folder, help='folder to write')
    parser.add_argument('--num-train', type=whole(), default=default.num_train)
    parser.add_argument('--num-val', type=whole(), default=default.num_val)
    parser.add_argument(
        '--size', type=whole(), default=default.size, help='side in pixels'
    )
    parser.add_argument('--seed', type=seed, default=default.seed)
    parser.add_argument('--layout', choices=LAYOUTS, default=default.layout)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Write the set and say where it lies."""
    args = parse_args(argv)
    started = time.monotonic()

    def progress(done: int, total: int) -> None:
        if done % 100 == 0 or done == total:
            passed = time.monotonic() - started
            print(f'{done}/{total} images, {passed:.1f} s', flush=True)

    try:
        settings = ShapesSettings(
            num_train=args.num_train,
            num_val=args.num_val,
            size=args.size,
            seed=args.seed,
            layout=args.layout,
        )
        written = write_shapes(args.out, settings, progress)
    except ValueError as error:
        sys.exit(f'make_shapes: {error}')
    print(
        f'the shapes set lies in {args.out}'
        if written
        else f'{args.out} holds this shapes set already'
    )


if __name__ == '__main__':
    run_tool(main)
