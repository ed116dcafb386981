"""Make mmengine read every checkpoint without executing it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from tempfile import TemporaryDirectory
from typing import Any

from mmengine.dist import barrier, get_dist_info
from mmengine.fileio import get_file_backend
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as mmengine_checkpoint

from mmtst.utils.download_cache import fetch, forget
from mmtst.utils.safe_reading import (
    CheckpointError,
    checkpoints_are_trusted,
    read_safely,
)


def install_safe_loading() -> None:
    """Make mmengine read every checkpoint without executing it.

    Replaces what mmengine's ``CheckpointLoader`` has for local files and for
    all its URL schemes; so resuming, ``load_from``, ``init_cfg`` and
    ``init_detector`` are safe for the rest of the process. Calling it again
    changes nothing.
    """
    for prefixes, loader in _SCHEMES:
        CheckpointLoader.register_scheme(prefixes, loader, force=True)


# The loaders have the names and arguments of mmengine's, which logs them.


def load_from_local(filename: str, map_location: Any = None) -> Any:
    """Read a local file."""
    path = os.path.expanduser(filename)
    if not os.path.isfile(path):
        raise FileNotFoundError(
            errno.ENOENT, 'the checkpoint can not be found', filename
        )
    return _with_weights(read_safely(filename, path, map_location), filename)


def load_from_http(
    filename: str, map_location: Any = None, model_dir: str | None = None
) -> Any:
    """Download a file, unless our cache has it, and read it.

    Among several processes the first downloads it for all. What cannot be
    read does not stay in the cache.
    """

    def load() -> Any:
        path = fetch(filename, model_dir)
        try:
            content = read_safely(filename, path, map_location)
            return _with_weights(content, filename)
        except CheckpointError:
            forget(filename, model_dir)
            raise

    rank, _ = get_dist_info()
    if rank > 0:
        barrier()
        return load()
    try:
        return load()
    finally:
        # Also where it failed: the others wait.
        barrier()


def load_from_pavi(filename: str, map_location: Any = None) -> Any:
    """Read a file of the model cloud of that name."""
    from pavi import modelcloud  # type: ignore[import-not-found]

    model = modelcloud.get(filename.removeprefix('pavi://'))
    with TemporaryDirectory() as folder:
        path = os.path.join(folder, model.name)
        model.download(path)
        return load_from_local(path, map_location)


def load_from_ceph(
    filename: str, map_location: Any = None, backend: str = 'petrel'
) -> Any:
    """Read a file of an object store."""
    store = get_file_backend(filename, backend_args={'backend': backend})
    content = read_safely(filename, store.get(filename), map_location)
    return _with_weights(content, filename)


def load_from_torchvision(filename: str, map_location: Any = None) -> Any:
    """Read weights of torchvision by the model's name."""
    urls = mmengine_checkpoint.get_torchvision_models()
    return load_from_http(_look_up(filename, urls), map_location)


def load_from_openmmlab(filename: str, map_location: Any = None) -> Any:
    """Read weights of OpenMMLab's backbones by the model's name."""
    names = mmengine_checkpoint.get_deprecated_model_names()
    scheme, name = filename.split('://', 1)
    current = f'{scheme}://{names.get(name, name)}'
    found = _look_up(current, mmengine_checkpoint.get_external_models())
    if found.startswith(('http://', 'https://')):
        return load_from_http(found, map_location)
    home = mmengine_checkpoint._get_mmengine_home()
    return load_from_local(os.path.join(home, found), map_location)


def load_from_mmcls(filename: str, map_location: Any = None) -> Any:
    """Read the backbone out of a classifier of mmpretrain."""
    urls = mmengine_checkpoint.get_mmcls_models()
    content = load_from_http(_look_up(filename, urls), map_location)
    return mmengine_checkpoint._process_mmcls_checkpoint(content)


def _with_weights(content: Any, filename: str) -> Any:
    """Return a content; refuse one without any tensor.

    Of such a file mmengine loads nothing, and logs the names that it misses.
    """
    inner = content
    if isinstance(content, dict):
        inner = content.get('state_dict', content)
    # Backbones of mmseg also take what lies a dictionary deeper.
    plain = (bool, int, float, str, bytes, list, tuple, type(None))
    if (
        not checkpoints_are_trusted()
        and isinstance(inner, dict)
        and all(isinstance(value, plain) for value in inner.values())
    ):
        raise CheckpointError(
            'the checkpoint holds no weights',
            got=filename,
            allowed='tensors by name, alone or as "state_dict" of a '
            'dictionary',
            fix="save the model's state_dict()",
        )
    return content


def _look_up(filename: str, table: dict[str, str]) -> str:
    name = filename.split('://', 1)[1]
    if name not in table:
        raise CheckpointError(
            'no weights of this name are known',
            got=filename,
            fix="look the name up in mmengine's hub, or give a file or URL",
        )
    return table[name]


# The prefixes are mmengine's own, regular expressions included.
_SCHEMES: tuple[tuple[tuple[str, ...], Callable[..., Any]], ...] = (
    (('',), load_from_local),
    (('http://', 'https://'), load_from_http),
    (('pavi://',), load_from_pavi),
    ((r'(\S+\:)?s3://', r'(\S+\:)?petrel://'), load_from_ceph),
    (('modelzoo://', 'torchvision://'), load_from_torchvision),
    (('open-mmlab://', 'openmmlab://'), load_from_openmmlab),
    (('mmcls://',), load_from_mmcls),
)
