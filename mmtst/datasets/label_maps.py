"""Look for the label maps of segmentation data before a training starts."""

from __future__ import annotations

import os
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

from mmtst.datasets.data_paths import SUBSETS, is_remote, iter_datasets
from mmtst.utils.errors import ConfigError


def check_label_maps(
    cfg: Config, subsets: tuple[str, ...] = SUBSETS
) -> dict[str, int]:
    """Check that every image of mmseg's data sets has its label map.

    mmseg meets a missing one in a worker, when its image is drawn.

    Args:
        cfg: The config; data sets of other kinds, or in remote storage, are
            passed over.
        subsets: Which of ``train``, ``val``, ``test`` will be read.

    Returns:
        The number of images, by the data set's path in the config.

    Raises:
        ConfigError: There are no images, or some are without a label map.
    """
    # Not at the head: it takes seconds, and most configs do without.
    from mmseg.datasets import BaseSegDataset

    counts: dict[str, int] = {}
    for where, dataset in iter_datasets(cfg, subsets):
        prefix = dataset.get('data_prefix') or {}
        if is_remote(dataset) or 'seg_map_path' not in prefix:
            continue
        scope = dataset.get('_scope_') or cfg.get('default_scope')
        with DefaultScope.overwrite_default_scope(scope):
            built = DATASETS.build(dict(dataset, lazy_init=True))
        if isinstance(built, BaseSegDataset):
            counts[where] = _check(built, where)
    return counts


def _check(dataset: Any, where: str) -> int:
    entries = dataset.load_data_list()
    if not entries:
        raise ConfigError(
            'there are no images',
            where=f'{where}.data_prefix.img_path',
            got=dataset.data_prefix.get('img_path'),
            allowed=f'a folder with files that end in {dataset.img_suffix}',
            fix='check data_root, data_prefix and img_suffix',
        )
    missing = [
        entry['seg_map_path']
        for entry in entries
        if not os.path.exists(entry['seg_map_path'])
    ]
    if missing:
        fix = 'check data_prefix.seg_map_path and seg_map_suffix'
        if dataset.seg_map_suffix.endswith('labelTrainIds.png'):
            fix += (
                ', or write the maps with train ids: tools/'
                'dataset_converters/cityscapes.py of mmsegmentation'
            )
        raise ConfigError(
            f'{len(missing)} of {len(entries)} images have no label map',
            where=f'{where}.data_prefix.seg_map_path',
            got=f'no file {missing[0]}',
            fix=fix,
        )
    return len(entries)
