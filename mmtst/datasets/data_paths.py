"""Find, check and move the places that a config reads data from."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config, ConfigDict

from mmtst.utils.errors import ConfigError

SUBSETS = ('train', 'val', 'test')


def iter_datasets(
    cfg: Config, subsets: tuple[str, ...] = SUBSETS
) -> Iterator[tuple[str, ConfigDict]]:
    """Yield every leaf dataset of a config with its path in the config.

    Wrappers (``dataset=``, ``datasets=[...]``) are followed.

    Args:
        cfg: A config with ``{subset}_dataloader`` entries.
        subsets: Which of ``train``, ``val``, ``test`` to look at.
    """
    for subset in subsets:
        loader = cfg.get(f'{subset}_dataloader')
        if isinstance(loader, Mapping) and 'dataset' in loader:
            where = f'{subset}_dataloader.dataset'
            yield from _leaves(loader['dataset'], where)


def check_data(cfg: Config, subsets: tuple[str, ...] = SUBSETS) -> None:
    """Look for the data that a config names, before anything long starts.

    Looks at local paths only: the data root, the annotation file and the
    folders of ``data_prefix``.

    Args:
        cfg: The config.
        subsets: Which of ``train``, ``val``, ``test`` will be read.

    Raises:
        ConfigError: A path is not there; the message says which, where it
            stands in the config and how to give another root.
    """
    for where, dataset in iter_datasets(cfg, subsets):
        if is_remote(dataset):
            continue
        root = str(dataset.get('data_root') or '')
        if root and not os.path.isdir(root):
            raise ConfigError(
                'the data root is not there',
                where=f'{where}.data_root',
                got=root,
                fix='give the folder with --data-root DIR, or set data_root '
                'in the config (a relative one starts at '
                f'{os.getcwd()})',
            )
        for key, path in _parts(dataset):
            full = os.path.join(root, path)
            if '://' not in full and not os.path.exists(full):
                raise ConfigError(
                    'a file or folder of the data set is not there',
                    where=f'{where}.{key}',
                    got=full,
                    fix='check the layout under the data root, or give '
                    'another root with --data-root DIR',
                )


def set_data_root(cfg: Config, root: str) -> int:
    """Point every data set and evaluator to another root, in place.

    Args:
        cfg: The config; the ``data_root`` of every data set is replaced, and
            so is the beginning of every evaluator path that starts with one
            of the old roots.
        root: The new root folder.

    Returns:
        The number of data sets that were changed.

    Raises:
        ConfigError: No data set of the config has a ``data_root``.
    """
    old: set[str] = set()
    count = 0
    for _, dataset in iter_datasets(cfg):
        if 'data_root' in dataset:
            old.add(str(dataset.data_root or ''))
            dataset.data_root = root
            count += 1
    if not count:
        raise ConfigError(
            'no data set of this config has a data_root to replace',
            where='--data-root',
            got=root,
            fix='set the paths with --cfg-options '
            'train_dataloader.dataset.ann_file=... and the like',
        )
    for subset in SUBSETS:
        evaluator = cfg.get(f'{subset}_evaluator')
        if evaluator is not None:
            _replace_roots(evaluator, sorted(old - {''}, key=len), root)
    return count


def _leaves(dataset: Any, where: str) -> Iterator[tuple[str, ConfigDict]]:
    if not isinstance(dataset, Mapping):
        return
    if isinstance(dataset.get('dataset'), Mapping):
        yield from _leaves(dataset['dataset'], f'{where}.dataset')
    elif isinstance(dataset.get('datasets'), (list, tuple)):
        for index, part in enumerate(dataset['datasets']):
            yield from _leaves(part, f'{where}.datasets[{index}]')
    elif isinstance(dataset, ConfigDict):
        yield where, dataset


def type_name(cfg: Mapping[str, Any]) -> str:
    """Return the name of what a config builds, given as text or as a class.

    Args:
        cfg: With a ``type``; without one the name is empty.
    """
    kind = cfg.get('type', '')
    return kind if isinstance(kind, str) else getattr(kind, '__name__', '')


def is_remote(cfg: Mapping[str, Any]) -> bool:
    """Tell whether a data set, or a step of its pipeline, reads elsewhere.

    Args:
        cfg: Its config; a URL as ``data_root`` and a backend that is not the
            local one in ``backend_args`` count.
    """
    backend = cfg.get('backend_args') or {}
    remote = backend.get('backend', 'local') != 'local'
    return remote or '://' in str(cfg.get('data_root') or '')


def _parts(dataset: ConfigDict) -> Iterator[tuple[str, str]]:
    if dataset.get('ann_file'):
        yield 'ann_file', str(dataset['ann_file'])
    prefix = dataset.get('data_prefix') or {}
    if isinstance(prefix, str):
        prefix = {'img_path': prefix}
    for key, value in prefix.items():
        if value:
            yield f'data_prefix.{key}', str(value)


def _replace_roots(node: Any, old: list[str], root: str) -> None:
    """Replace the root at the beginning of every string below ``node``."""
    if isinstance(node, dict):
        items: Any = node.items()
    elif isinstance(node, list):
        items = enumerate(node)
    else:
        return
    for key, value in list(items):
        if not isinstance(value, str):
            _replace_roots(value, old, root)
            continue
        for start in reversed(old):
            bare = start.rstrip('/')
            if value == bare or value.startswith(bare + '/'):
                node[key] = os.path.join(root, value[len(bare) :].lstrip('/'))
                break
