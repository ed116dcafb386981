"""Adapt mmtst to what other packages do in the versions it runs on.

Everything here that is a repair names the versions it is for and the
condition under which it can go. Importing this module, and calling
:func:`apply_import_fixes`, imports no other package.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from torch import nn

BACKEND_CONFIG = 'mmrazor.structures.quantization.backend_config'
_BACKENDS = ('native', 'academic', 'openvino', 'tensorrt')


def apply_import_fixes() -> None:
    """Make the packages below importable; called by ``import mmtst``.

    Idempotent, and light: nothing is imported, only package metadata read.
    It has to run before ``mmrazor.models`` is first imported.
    """
    _stand_in_for_backend_config()
    _silence_pkg_resources()


def disable_inplace(module: nn.Module) -> int:
    """Set ``inplace = False`` on every submodule that has the attribute.

    A recorder keeps the tensor that a module returned; an in-place activation
    that follows overwrites it, and the distillation loss then sees another
    feature than the one that was named.

    For: mmrazor up to 1.0.0, whose own protection
    (``BaseAlgorithm.set_module_inplace_false``) descends only through
    ``OrderedDict``; in newer torch ``Module._modules`` is a plain ``dict``,
    and nothing is changed. Can go when mmrazor's own reaches submodules.

    Args:
        module: The model; changed in place, its own flag included.

    Returns:
        How many modules were changed.
    """
    changed = 0
    for child in module.modules():
        if getattr(child, 'inplace', False) is True:
            setattr(child, 'inplace', False)  # noqa: B010 (typed as Tensor)
            changed += 1
    return changed


def join_cpu_processes(cfg: Any) -> bool:
    """Join the processes that torchrun started, where there is no GPU.

    For: mmengine up to 0.10.7, whose launcher sets a CUDA device before it
    joins, and which wraps models for one. Can go when its launcher takes
    ``gloo`` on a CPU.

    Args:
        cfg: The run's config; its model is then wrapped without device ids.

    Returns:
        Whether it has joined; not where there is a CUDA device, nor where
        the processes have joined already.
    """
    import torch
    from torch import distributed

    if torch.cuda.is_available() or distributed.is_initialized():
        return False
    distributed.init_process_group('gloo')
    wrapper = dict(cfg.get('model_wrapper_cfg') or {})
    wrapper.setdefault('type', 'MMDistributedDataParallel')
    wrapper.setdefault('broadcast_buffers', False)
    unused = cfg.get('find_unused_parameters', False)
    wrapper.setdefault('find_unused_parameters', unused)
    wrapper['device_ids'] = None
    cfg.model_wrapper_cfg = wrapper
    return True


def installed_release(distribution: str) -> tuple[int, ...] | None:
    """Read an installed distribution's release number without importing it.

    Args:
        distribution: Name as on the package index, for example ``torch``.

    Returns:
        The leading numbers, ``(2, 11, 0)`` for ``2.11.0+cu130``; ``None``
        when it is not installed or names no number.
    """
    try:
        version = metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
    leading = re.match(r'\d+(?:\.\d+)*', version)
    if leading is None:
        return None
    return tuple(int(number) for number in leading.group().split('.'))


def _silence_pkg_resources() -> None:
    """Silence the deprecation notice of ``pkg_resources``.

    For: mmengine 0.10 with setuptools 67 to 81; it reloads ``pkg_resources``
    at every look-up of an ``mmdet::`` config, and the notice comes with each.
    (setuptools 82 has no ``pkg_resources`` and is refused by our
    requirements.) Can go when mmengine reads ``importlib.metadata``.
    """
    warnings.filterwarnings(
        'ignore', message='pkg_resources is deprecated', category=UserWarning
    )


def _stand_in_for_backend_config() -> None:
    """Put a stand-in where mmrazor builds its quantization tables.

    For: mmrazor up to 1.0.0 on torch 2.0 and later. Its
    ``backend_config`` subpackage builds tables at import from private
    functions of torch 1.13, and ``mmrazor.models`` imports it whether or not
    anything is quantized. Can go when a release of mmrazor imports on the
    oldest torch we support.
    """
    torch_release = installed_release('torch')
    mmrazor_release = installed_release('mmrazor')
    if torch_release is None or mmrazor_release is None:
        return
    if torch_release < (2, 0) or mmrazor_release > (1, 0, 0):
        return
    if BACKEND_CONFIG in sys.modules:
        return
    sys.modules[BACKEND_CONFIG] = _build_backend_config()


def _build_backend_config() -> ModuleType:
    """Build the stand-in: the subpackage's names, each failing when used."""
    module = ModuleType(BACKEND_CONFIG, 'Stands in for a broken subpackage.')
    module.__spec__ = ModuleSpec(BACKEND_CONFIG, None, is_package=True)
    module.__path__ = []
    public: dict[str, Any] = {'BackendConfigs': _UnusableTable()}
    for backend in _BACKENDS:
        for suffix in ('', '_dict'):
            name = f'get_{backend}_backend_config{suffix}'
            public[name] = _unusable_function(name)
    vars(module).update(public)
    vars(module)['__all__'] = list(public)
    return module


class _UnusableTable(Mapping[str, Any]):
    """Raise on every look-up; an import alone must not fail."""

    def __getitem__(self, key: str) -> Any:
        _refuse(f'BackendConfigs[{key!r}]')

    def __iter__(self) -> Iterator[str]:
        return iter(_BACKENDS)

    def __len__(self) -> int:
        return len(_BACKENDS)


def _unusable_function(name: str) -> Callable[..., Any]:
    def refuse(*args: object, **kwargs: object) -> NoReturn:
        _refuse(f'{name}()')

    refuse.__name__ = refuse.__qualname__ = name
    return refuse


def _refuse(what: str) -> NoReturn:
    raise RuntimeError(
        f'{what} of {BACKEND_CONFIG} is not available: mmrazor 1.0.0 builds '
        'it from private functions of torch 1.13, and torch '
        f'{metadata.version("torch")} is installed. Distillation does not '
        "need it; mmrazor's own quantizers do, and cannot run on torch >= 2."
    )
