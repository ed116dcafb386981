"""Look at the label maps of segmentation data before a training starts."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from mmengine.registry import DATASETS, DefaultScope

from mmtst.datasets.data_paths import SUBSETS, is_remote, iter_datasets
from mmtst.datasets.findings import Finding, name_places, refuse_worst
from mmtst.datasets.label_map_files import (
    find_label_map_faults,
    find_label_map_reader,
)
from mmtst.utils.errors import ConfigError


@dataclass
class LabelMapReport:
    """Hold what was found in the label maps of a config.

    Attributes:
        findings: The worst ones of each data set come first.
        counts: Images, by the data set's path in the config.
    """

    findings: list[Finding] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


def check_label_maps(
    cfg: Config, subsets: tuple[str, ...] = SUBSETS, *, whole: bool = False
) -> dict[str, int]:
    """Check that every image of mmseg's data sets has a usable label map.

    mmseg meets a missing one, one of another size, or one of colors in a
    worker, when its image is drawn; a label beyond the classes ends a
    training on a GPU without a name; and what is ignored wholly teaches
    nothing. Whether each map is there is asked for all, the rest of a sample.

    Args:
        cfg: The config; data sets of other kinds, or in remote storage, are
            passed over.
        subsets: Which of ``train``, ``val``, ``test`` will be read.
        whole: Whether to look into all maps instead of a sample.

    Returns:
        The number of images, by the data set's path in the config.

    Raises:
        ConfigError: There are no images, some are without a label map, or a
            training with the maps would stop or be pointless.
    """
    report = inspect_label_maps(cfg, subsets, whole=whole)
    refuse_worst(report.findings)
    for finding in report.findings:
        print_log(finding.note(), 'current', logging.WARNING)
    return report.counts


def inspect_label_maps(
    cfg: Config, subsets: tuple[str, ...] = SUBSETS, *, whole: bool = False
) -> LabelMapReport:
    """Look as :func:`check_label_maps` does, without refusing anything."""
    # Not at the head: it takes seconds, and most configs do without.
    from mmseg.datasets import BaseSegDataset

    report = LabelMapReport()
    for where, dataset in iter_datasets(cfg, subsets):
        prefix = dataset.get('data_prefix') or {}
        if is_remote(dataset) or 'seg_map_path' not in prefix:
            continue
        scope = dataset.get('_scope_') or cfg.get('default_scope')
        try:
            with DefaultScope.overwrite_default_scope(scope):
                built = DATASETS.build(dict(dataset, lazy_init=True))
            if not isinstance(built, BaseSegDataset):
                continue
            entries = built.load_data_list()
        # Whatever it is, a training would stop at it.
        except Exception as error:
            report.findings.append(_not_built(error, dataset, where))
            continue
        report.counts[where] = len(entries)
        report.findings += _look_for_maps(built, entries, where) or (
            _look_into_maps(cfg, dataset, built, entries, where, whole)
        )
    return report


def _not_built(error: Exception, dataset: ConfigDict, where: str) -> Finding:
    if not isinstance(error, ConfigError):
        said = str(error).strip().splitlines() or [type(error).__name__]
        error = ConfigError(
            f'the data set cannot be built: {said[0]}',
            where=where,
            got=dataset.get('type'),
            fix='look at ann_file, data_prefix, metainfo and pipeline',
        )
    return Finding.from_error(
        error, where, str(dataset.get('data_root') or '')
    )


def _look_for_maps(
    dataset: Any, entries: list[Mapping[str, Any]], where: str
) -> list[Finding]:
    """Find data sets without images, and images without a map."""
    if not entries:
        error = ConfigError(
            'there are no images',
            where=f'{where}.data_prefix.img_path',
            got=dataset.data_prefix.get('img_path'),
            allowed=f'a folder with files that end in {dataset.img_suffix}',
            fix='check data_root, data_prefix and img_suffix',
        )
        return [Finding.from_error(error, where, '')]
    missing = [
        entry['seg_map_path']
        for entry in entries
        if not os.path.exists(entry['seg_map_path'])
    ]
    if not missing:
        return []
    fix = 'check data_prefix.seg_map_path and seg_map_suffix'
    if dataset.seg_map_suffix.endswith('labelTrainIds.png'):
        fix += (
            ', or write the maps with train ids: tools/'
            'dataset_converters/cityscapes.py of mmsegmentation'
        )
    error = ConfigError(
        f'{len(missing)} of {len(entries)} images have no label map',
        where=f'{where}.data_prefix.seg_map_path',
        got=f'no file {missing[0]}',
        fix=fix,
    )
    return [Finding.from_error(error, where, '')]


def _look_into_maps(
    cfg: Config,
    config: ConfigDict,
    dataset: Any,
    entries: list[Mapping[str, Any]],
    where: str,
    whole: bool,
) -> list[Finding]:
    """Find maps that are not what a training needs."""
    names = dataset.metainfo.get('classes')
    reader = find_label_map_reader(
        config.get('pipeline'),
        reduce_zero_label=bool(dataset.reduce_zero_label),
        label_map=dataset.label_map or {},
        num_classes=None if names is None else len(names),
        ignored={dataset.ignore_index, *_ignored_labels(cfg.get('model'))},
    )
    if reader is None:
        return []
    findings, pixels = find_label_map_faults(
        entries, where, reader, pipeline=config.get('pipeline'), whole=whole
    )
    absent = [
        str(name) for i, name in enumerate(names or ()) if i not in pixels
    ]
    # Of a sample, rare classes may well be absent.
    if absent and not any(each.refused for each in findings):
        findings.append(
            Finding(
                f'{len(absent)} of {len(names)} classes have no pixel in the '
                f'label maps{"" if whole else " looked at"}: '
                + ', '.join(name_places(absent)),
                f'{where}.metainfo.classes',
                str(dataset.data_prefix.get('seg_map_path')),
                count=len(absent),
                refused=False,
            )
        )
    return findings


def _ignored_labels(node: Any) -> Iterator[int]:
    """Yield the labels that the heads and losses of a model ignore."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            # Also as cfg_options={'decode_head.ignore_index': ...}.
            if str(key).endswith('ignore_index') and isinstance(value, int):
                yield value
            yield from _ignored_labels(value)
    elif isinstance(node, (list, tuple)):
        for each in node:
            yield from _ignored_labels(each)
