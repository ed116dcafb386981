"""Look into the images of segmentation and classification data sets."""

from __future__ import annotations

from mmengine.config import Config, ConfigDict
from mmengine.registry import DATASETS, DefaultScope

from mmtst.datasets.annotation_images import reads_plain_files
from mmtst.datasets.annotation_reading import COCO_TYPES
from mmtst.datasets.data_paths import (
    SUBSETS,
    is_remote,
    iter_datasets,
    type_name,
)
from mmtst.datasets.findings import Finding
from mmtst.datasets.image_files import find_image_faults, find_reader
from mmtst.utils.errors import ConfigError

_SCOPES = ('mmseg', 'mmpretrain')


def inspect_image_sets(
    cfg: Config, subsets: tuple[str, ...] = SUBSETS, *, every: bool = False
) -> list[Finding]:
    """Look into the images of mmseg's and mmpretrain's data sets.

    Each data set is asked for its own list of images. Those of other
    packages, in remote storage or in archives, or read by other loaders than
    ``LoadImageFromFile``, are passed over.

    Args:
        cfg: The config.
        subsets: Which of ``train``, ``val``, ``test`` to look at.
        every: Whether to look into all images instead of a sample.

    Returns:
        The findings, the worst of each data set first.
    """
    findings: list[Finding] = []
    for where, dataset in iter_datasets(cfg, subsets):
        reader = find_reader(dataset.get('pipeline'))
        root = str(dataset.get('data_root') or '')
        scope = dataset.get('_scope_') or cfg.get('default_scope')
        name = type_name(dataset)
        if '.' in name:
            scope = name.partition('.')[0]
        if (
            reader is None
            or is_remote(dataset)
            or not reads_plain_files(dataset, root)
            or scope not in _SCOPES
            or name in COCO_TYPES
        ):
            continue
        try:
            paths = _list_images(dataset, scope)
        except ConfigError as error:
            findings.append(Finding.from_error(error, where, root))
        except Exception as error:
            # Whatever the data set raises, it would at its start too.
            findings.append(
                Finding(
                    'the data set cannot list its images: '
                    f'{type(error).__name__}: {error}',
                    where,
                    root,
                    fix='check data_root, data_prefix and ann_file',
                )
            )
        else:
            findings += find_image_faults(
                paths, where, folder=root, reader=reader, every=every
            )
    return findings


def _list_images(dataset: ConfigDict, scope: str) -> list[str]:
    with DefaultScope.overwrite_default_scope(scope):
        built = DATASETS.build(dict(dataset, lazy_init=True))
    entries = built.load_data_list()
    paths = [entry.get('img_path') for entry in entries]
    return [
        path for path in paths if isinstance(path, str) and '://' not in path
    ]
