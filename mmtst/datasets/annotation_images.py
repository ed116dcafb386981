"""Look at the images that an annotation file names."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import ConfigDict

from mmtst.datasets.data_paths import is_remote
from mmtst.datasets.findings import Finding
from mmtst.datasets.image_files import find_image_faults, find_reader

_GONE = {
    'not there': 'check data_prefix and the layout under the data root',
    'empty files': (
        'copy or download them again, or take them out of the annotation file'
    ),
}


def look_at_images(
    dataset: ConfigDict,
    where: str,
    images: Sequence[Mapping[str, Any]],
    every: bool,
) -> list[Finding]:
    """Look for all images of a file, and into some of them.

    Args:
        dataset: The config of a COCO data set.
        where: Path in the config of what names their folder.
        images: Well-formed entries of the annotation file.
        every: Whether to look into all images instead of a sample.

    Returns:
        The findings, the worst first; none for images in remote storage or
        in an archive. Into images it is looked only if the pipeline reads
        them by ``LoadImageFromFile``.
    """
    folder = image_folder(dataset)
    if not reads_plain_files(dataset, folder):
        return []
    names = [image['file_name'] for image in images]
    gone, findings = _look_for_images(folder, names, where)
    reader = find_reader(dataset.get('pipeline'))
    there = [i for i in images if i['file_name'] not in gone]
    if reader is not None and there:
        findings += find_image_faults(
            [os.path.join(folder, i['file_name']) for i in there],
            where,
            folder=folder,
            sizes=[(i['width'], i['height']) for i in there],
            reader=reader,
            every=every,
        )
    return findings


def image_folder(dataset: ConfigDict) -> str:
    """Return the folder of a COCO data set's images."""
    root = str(dataset.get('data_root') or '')
    prefix = (dataset.get('data_prefix') or {}).get('img', '')
    return os.path.join(root, str(prefix))


def reads_plain_files(dataset: ConfigDict, folder: str) -> bool:
    """Tell whether images are files of their own below a local folder."""
    for step in dataset.get('pipeline') or ():
        if isinstance(step, Mapping) and is_remote(step):
            return False
    # An archive stands where a folder would.
    return '://' not in folder and not os.path.isfile(folder.rstrip('/'))


def _look_for_images(
    folder: str, names: Sequence[str], where: str
) -> tuple[set[str], list[Finding]]:
    """Look for images that are missing or have no bytes.

    Each folder is listed once: on a network drive that is far less than one
    question for each file, and what it tells of the files comes along.
    """
    by_folder: dict[str, dict[str, str]] = defaultdict(dict)
    for name in names:
        head, tail = os.path.split(name)
        by_folder[head][tail] = name
    found: dict[str, list[str]] = {what: [] for what in _GONE}
    for head, tails in by_folder.items():
        sizes = _file_sizes(os.path.join(folder, head), set(tails))
        for tail, name in sorted(tails.items()):
            # Spelled otherwise than listed, it may still be found: not all
            # file systems tell a from A.
            size = (
                sizes[tail]
                if tail in sizes
                else _file_size(os.path.join(folder, name))
            )
            if size is None:
                found['not there'].append(name)
            elif size == 0:
                found['empty files'].append(name)
    findings = [
        Finding(
            f'{len(gone)} of {len(names)} images are {what}',
            where,
            folder,
            len(gone),
            tuple(os.path.join(folder, name) for name in gone),
            fix=_GONE[what],
        )
        for what, gone in found.items()
        if gone
    ]
    return {name for gone in found.values() for name in gone}, findings


def _file_sizes(folder: str, names: set[str]) -> dict[str, int]:
    try:
        with os.scandir(folder) as entries:
            return {
                entry.name: entry.stat().st_size
                for entry in entries
                if entry.name in names and entry.is_file()
            }
    except OSError:
        # Not there, or not to be listed: then each file is asked for.
        return {}


def _file_size(path: str) -> int | None:
    return os.path.getsize(path) if os.path.isfile(path) else None
