"""Fit the meta-encoders to the manual operators (Stage I of TST).

Without arguments this repeats the prior that the package ships. Prints a
table of every encoder's error beside that of doing nothing, on images that
were not fitted on.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any, cast

# First: it prepares the imports of the packages below.
import mmtst  # noqa: F401  isort: skip
import torch
from _arguments import (
    LARGEST_SEED,
    check_files_to_write,
    existing_file,
    output_file,
    whole,
)
from torch import Tensor

from mmtst.augmentation.meta_encoders import save_prior
from mmtst.augmentation.presets import NETWORKS, Network
from mmtst.augmentation.prior import fit_prior
from mmtst.augmentation.prior_images import read_images, synthetic_images
from mmtst.augmentation.prior_report import (
    failures,
    judge_prior,
    to_json,
    to_table,
)
from mmtst.utils.errors import ConfigError, run_tool

SYNTHETIC = 'synthetic'


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument('--network', choices=NETWORKS, default='quadratic')
    parser.add_argument(
        '--images',
        default=SYNTHETIC,
        metavar='SOURCE',
        help=f'what to fit on: {SYNTHETIC}, FOLDER (random patches of the '
        'images under it), or FOLDER:TILE (images there are mosaics of '
        'tiles of so many pixels)',
    )
    parser.add_argument(
        '--judge',
        nargs='*',
        default=[],
        metavar='NAME=SOURCE',
        help='further images to report on, not fitted on',
    )
    parser.add_argument(
        '--num', type=whole(), default=256, help='images to fit'
    )
    parser.add_argument(
        '--num-judge', type=whole(), default=256, help='images to report on'
    )
    parser.add_argument(
        '--side', type=whole(2, 4096), default=32, help='in pixels'
    )
    parser.add_argument(
        '--binned',
        action='store_true',
        help='round magnitudes to ten bins as RandAugment does',
    )
    parser.add_argument('--seed', type=whole(0, LARGEST_SEED - 1), default=0)
    parser.add_argument(
        '--out',
        type=output_file('.pth'),
        default='work_dirs/prior/{network}.pth',
        help='file for the prior; the report lies beside it as .json',
    )
    parser.add_argument(
        '--docs',
        type=existing_file,
        metavar='PAGE',
        help='Markdown page whose tables of this network to replace',
    )
    return parser.parse_args(argv)


def load_source(source: str, count: int, side: int, seed: int) -> Tensor:
    """Make or read the images that a source names.

    Args:
        source: As on the command line.
        count: Number of images.
        side: In pixels.
        seed: Of the images, or of the places of patches.

    Returns:
        (n, 3, side, side), raw RGB in [0, 1].

    Raises:
        ConfigError: There are none, or the size of a tile is no number.
    """
    if source == SYNTHETIC:
        return synthetic_images(count, side, seed)
    folder, colon, tile = source.rpartition(':')
    if not colon or Path(source).is_dir():
        return read_images(source, count, side, seed)
    if not tile.isdigit() or int(tile) == 0:
        raise ConfigError(
            'The side of the tiles is not a whole number over 0',
            where='--images or --judge',
            got=source,
            allowed=f'{SYNTHETIC}, FOLDER or FOLDER:TILE',
        )
    return read_images(folder, count, side, seed, int(tile))


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Fit, judge, write; return the report."""
    args = parse_args(argv)
    network = cast(Network, args.network)
    judged = {SYNTHETIC: SYNTHETIC}
    for entry in args.judge:
        name, equals, source = entry.partition('=')
        if not equals:
            raise ConfigError(
                'Images to report on need a name',
                where='--judge',
                got=entry,
                allowed='NAME=SOURCE',
            )
        judged[name] = source
    out = Path(args.out.replace('{network}', network))
    check_files_to_write('--out', [out, out.with_suffix('.json')])
    if args.docs is not None:
        check_files_to_write('--docs', [args.docs])
    # Another seed than that of the fit: images that it has not seen.
    others = {
        name: load_source(source, args.num_judge, args.side, args.seed + 1)
        for name, source in judged.items()
    }
    images = load_source(args.images, args.num, args.side, args.seed)
    started = time.perf_counter()
    prior = fit_prior(network, images, args.seed, args.binned)
    seconds = time.perf_counter() - started
    save_prior(out, network, prior)
    report: dict[str, Any] = dict(
        network=network,
        fitted_on=_describe(args.images),
        num_images=len(images),
        side=args.side,
        seed=args.seed,
        binned=args.binned,
        seconds=round(seconds, 1),
        torch=torch.__version__,
        judged={},
    )
    for name, others_images in others.items():
        reports = judge_prior(network, prior, others_images, args.binned)
        rows = to_json(reports)
        report['judged'][name] = dict(num_images=len(others_images), rows=rows)
        print(f'{network}, on {len(others_images)} images of {name}:\n')
        print(to_table(rows))
        if network == 'quadratic':
            for failure in failures(reports):
                print(f'over the bar: {failure}')
    out.with_suffix('.json').write_text(json.dumps(report, indent=1) + '\n')
    if args.docs is not None:
        page = Path(args.docs)
        page.write_text(replace_tables(page.read_text(), report))
    print(f'fitted in {seconds:.1f} s')
    print(f'prior:  {out}\nreport: {out.with_suffix(".json")}')
    return report


def replace_tables(text: str, report: dict[str, Any]) -> str:
    """Put the tables of a report in a page.

    Args:
        text: Of the page. A table stands between the lines
            ``<!-- table: NETWORK NAME -->`` and ``<!-- end -->``.
        report: Of one network; its places in the page are filled.

    Returns:
        The new text.
    """
    for name, judged in report['judged'].items():
        start = f'<!-- table: {report["network"]} {name} -->\n'
        before, found, rest = text.partition(start)
        if found:
            _, end, after = rest.partition('<!-- end -->')
            table = to_table(judged['rows'])
            text = f'{before}{start}\n{table}\n{end}{after}'
    return text


def _describe(source: str) -> str:
    """Name a source without the place it lies at."""
    return source if source == SYNTHETIC else Path(source).name


if __name__ == '__main__':
    run_tool(main)
