"""Look into annotation files before a training starts."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from mmengine.config import Config
from mmengine.logging import print_log

from mmtst.datasets.annotation_look import (
    FIX_HINT,
    Look,
    look_at_annotations,
)
from mmtst.datasets.annotation_reading import is_coco
from mmtst.datasets.data_paths import SUBSETS, iter_datasets
from mmtst.datasets.findings import Finding, refuse_worst


@dataclass
class AnnotationReport:
    """Hold what was found in the annotation files of a config.

    Attributes:
        findings: The worst ones of each file come first.
        counts: Images with an object that is used, by the data set's path in
            the config.
    """

    findings: list[Finding] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


def check_annotations(
    cfg: Config, subsets: tuple[str, ...] = SUBSETS, *, every: bool = False
) -> dict[str, int]:
    """Check the COCO files that a config names, and their images.

    mmdet meets a malformed file with a ``KeyError``, unknown classes with an
    empty data set, and an image that is missing or cut short hours later in
    a worker. Objects without area it drops in silence.

    Args:
        cfg: The config; data sets of other types are passed over.
        subsets: Which of ``train``, ``val``, ``test`` will be read.
        every: Whether to look at all images instead of a sample.

    Returns:
        The number of images that have an object, by the data set's path in
        the config.

    Raises:
        ConfigError: A training would stop, or be pointless: a file is not
            JSON, not in COCO layout, has malformed entries, no object that
            is used in a whole subset, or images that cannot be read.
    """
    report = inspect_annotations(cfg, subsets, every=every)
    refuse_worst(report.findings)
    for finding in report.findings:
        print_log(finding.note(), 'current', logging.WARNING)
    return report.counts


def inspect_annotations(
    cfg: Config, subsets: tuple[str, ...] = SUBSETS, *, every: bool = False
) -> AnnotationReport:
    """Look as :func:`check_annotations` does, without refusing anything."""
    report = AnnotationReport()
    looks: list[Look] = []
    whole = dict.fromkeys(subsets, True)
    for where, dataset in iter_datasets(cfg, subsets):
        look = (
            look_at_annotations(dataset, where, every)
            if is_coco(dataset)
            else None
        )
        if look is None or not look.readable:
            whole[_subset(where)] = False
        if look is not None:
            looks.append(look)
    for look in looks:
        same = [x for x in looks if _subset(x.where) == _subset(look.where)]
        first = same[0] is look
        if first and whole[_subset(look.where)]:
            _look_for_objects(same)
        _compare_labels(looks[0], look)
        report.findings += look.findings
        report.counts[look.where] = look.with_objects
    return report


def _subset(where: str) -> str:
    return where.partition('_dataloader')[0]


def _compare_labels(first: Look, look: Look) -> None:
    """Look whether two files number the same classes differently."""
    differ = [
        f'label {i} is {a!r} in {first.path}, {b!r} here'
        for i, (a, b) in enumerate(
            zip(first.labels, look.labels, strict=False)
        )
        if a != b
    ]
    same = first.dataset.get('metainfo') == look.dataset.get('metainfo')
    if differ and same:
        look.add(
            'the annotation files of the config number the classes '
            'differently',
            count=len(differ),
            places=tuple(differ),
            fix='give all files the same categories in the same order',
        )


def _look_for_objects(looks: list[Look]) -> None:
    """Refuse a subset of which no file has an object that is used."""
    if any(look.used for look in looks):
        return
    for look in looks:
        reasons = ''.join(f'; {reason}' for reason in look.reasons)
        finding = Finding(
            'the annotation file has no object of the classes that is used'
            + reasons,
            f'{look.where}.ann_file',
            look.path,
            fix=FIX_HINT if look.reasons else None,
        )
        look.findings.insert(0, finding)
