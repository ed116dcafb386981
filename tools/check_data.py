"""Look into the data of a config, and write cleaned annotation files."""

from __future__ import annotations

import argparse
import copy
import os
import sys
from itertools import groupby

from _arguments import output_folder
from _common import add_config_arguments, read_config, run
from mmengine.config import Config

from mmtst.datasets import check_data, iter_datasets
from mmtst.datasets.annotation_cleaning import clean_annotations, write_new
from mmtst.datasets.annotation_reading import (
    annotation_path,
    is_coco,
    read_annotations,
)
from mmtst.datasets.annotations import inspect_annotations
from mmtst.datasets.data_paths import SUBSETS
from mmtst.datasets.findings import SHOWN, Finding, name_places, printable
from mmtst.datasets.image_sets import inspect_image_sets
from mmtst.datasets.label_maps import inspect_label_maps
from mmtst.utils.errors import ConfigError


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_config_arguments(parser)
    parser.add_argument(
        '--subsets',
        nargs='+',
        choices=SUBSETS,
        default=list(SUBSETS),
        help='which data to look at; by default all',
    )
    parser.add_argument(
        '--all',
        action='store_true',
        help='look into all images and label maps, instead of a sample',
    )
    parser.add_argument(
        '--fix',
        metavar='FOLDER',
        type=output_folder,
        help='write cleaned copies of the annotation files to this folder; '
        'looks into all images',
    )
    return parser.parse_args(argv)


def find_all(
    cfg: Config, subsets: tuple[str, ...], every: bool
) -> tuple[list[Finding], dict[str, int]]:
    """Return what is wrong with the data, and the images with objects.

    Args:
        cfg: The config.
        subsets: Which of its data to look at.
        every: Whether to look into all images.
    """
    findings: list[Finding] = []
    there: list[str] = []
    for subset in subsets:
        try:
            check_data(cfg, (subset,))
            there.append(subset)
        except ConfigError as error:
            findings.append(Finding.from_error(error, subset, 'the config'))
    report = inspect_annotations(cfg, tuple(there), every=every)
    findings += report.findings
    findings += inspect_image_sets(cfg, tuple(there), every=every)
    maps = inspect_label_maps(cfg, tuple(there), whole=every)
    findings += maps.findings
    return findings, {**report.counts, **maps.counts}


def describe(findings: list[Finding], counts: dict[str, int]) -> str:
    """Return the findings as a table, file by file."""
    lines = [
        f'{where}: {count} images with objects or label maps'
        for where, count in counts.items()
    ]
    for (where, file), group in groupby(
        findings, lambda finding: (finding.where, finding.file)
    ):
        lines += ['', file, f'  {where}']
        for finding in group:
            verdict = 'refused' if finding.refused else 'noted'
            if finding.error is not None:
                told = str(finding.error).splitlines()
                lines.append(f'  {verdict:8}{finding.count:>8}  {told[0]}')
                lines += [f'{"":20}{line.strip()}' for line in told[1:]]
                continue
            lines.append(f'  {verdict:8}{finding.count:>8}  {finding.what}')
            shown = name_places(finding.places, finding.count)
            lines += [f'{"":20}{place}' for place in shown]
            if finding.allowed is not None:
                lines.append(f'{"":20}allowed: {finding.allowed}')
            if finding.fix is not None:
                lines.append(f'{"":20}fix: {finding.fix}')
    refused = sum(finding.refused for finding in findings)
    lines += [
        '',
        f'{len(findings)} kinds of faults, {refused} of which a training '
        f'would be refused for (the first {SHOWN} places are shown)'
        if findings
        else 'nothing found',
    ]
    return printable('\n'.join(lines))


def fix(cfg: Config, subsets: tuple[str, ...], folder: str) -> Config:
    """Write cleaned copies of the annotation files.

    Args:
        cfg: The config.
        subsets: Of which of its data.
        folder: Where to write; files that are there are never replaced.

    Returns:
        A config that reads the copies.

    Raises:
        ConfigError: A file cannot be cleaned or written.
    """
    cleaned_cfg = copy.deepcopy(cfg)
    places: dict[str, str] = {}
    todo = []
    for where, dataset in iter_datasets(cleaned_cfg, subsets):
        if not is_coco(dataset):
            continue
        path = os.path.realpath(annotation_path(dataset))
        target = os.path.abspath(
            os.path.join(folder, os.path.basename(annotation_path(dataset)))
        )
        if path not in places:
            if target in places.values() or os.path.lexists(target):
                raise ConfigError(
                    'a cleaned copy would have the name of another file',
                    where='--fix',
                    got=target,
                    fix='give an empty folder, or clean with --subsets one '
                    'after the other',
                )
            places[path] = target
            todo.append((where, copy.deepcopy(dataset), path, target))
        dataset.ann_file = places[path]
    if not todo:
        raise ConfigError(
            'there is no local COCO file to clean',
            where='--fix',
            allowed='configs with data sets of mmdet.CocoDataset',
        )
    for where, dataset, path, target in todo:
        content = read_annotations(path, f'{where}.ann_file')
        cleaning = clean_annotations(content, dataset, where)
        write_new(cleaning.content, target)
        print(f'{path}\n  cleaned copy: {target}')
        for what, count in sorted(cleaning.changes.items()):
            print(f'  {count:>8}  {what}')
        if not cleaning.changes:
            print('  nothing was to be changed')
    return cleaned_cfg


def main(argv: list[str] | None = None) -> int:
    """Look into the data; return 1 if a training would be refused."""
    args = parse_args(argv)
    cfg = read_config(args)
    subsets = tuple(args.subsets)
    if args.fix is not None:
        cfg = fix(cfg, subsets, args.fix)
        print('\nThe copies, looked into again:')
    findings, counts = find_all(cfg, subsets, args.all or bool(args.fix))
    print(describe(findings, counts))
    return int(any(finding.refused for finding in findings))


if __name__ == '__main__':
    run(lambda: sys.exit(main()))
