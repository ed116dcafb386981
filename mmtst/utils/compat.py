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

from mmtst.utils.recursion_limit import keep_recursion_limit

if TYPE_CHECKING:
    from torch import Tensor, nn

BACKEND_CONFIG = 'mmrazor.structures.quantization.backend_config'
_BACKENDS = ('native', 'academic', 'openvino', 'tensorrt')


def apply_import_fixes() -> None:
    """Make the packages below importable; called by ``import mmtst``.

    Idempotent, and light: nothing is imported, only package metadata read.
    It has to run before ``mmrazor.models`` is first imported.
    """
    _stand_in_for_backend_config()
    keep_recursion_limit()
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


def mend_segmentation_losses(module: nn.Module) -> int:
    """Give mmseg's losses in a model criteria that stand any label map.

    Each instance gets its own: nothing of mmseg is changed. Where nothing is
    to be ignored they return what mmseg's return.

    For: mmseg up to 1.2.2, whose losses fail on maps with ignored pixels, or
    with nothing else. Can go when a release has mended

    - ``CrossEntropyLoss`` with ``class_weight``: looks up the weight of
      label 255;
    - the same with ``use_sigmoid``: asks for the highest of no labels
      (one channel), and lays class weights along the width of the image;
    - ``LovaszLoss``: returns an empty loss, whose mean is NaN, for a batch
      without labels, and fails where an image has none, or one pixel.

    Args:
        module: The model, or a loss; changed in place.

    Returns:
        How many losses were changed.
    """
    mended = 0
    for child in module.modules():
        if not hasattr(child, 'cls_criterion'):
            continue
        criterion: Any = child.cls_criterion
        if getattr(criterion, '__module__', None) in _MENDED_IN:
            better = _MENDED.get(criterion.__name__)
            if better is not None:
                setattr(child, 'cls_criterion', better)  # noqa: B010 (as above)
                mended += 1
    return mended


def mended_cross_entropy(
    pred: Tensor,
    label: Tensor,
    weight: Tensor | None = None,
    class_weight: Tensor | None = None,
    reduction: str = 'mean',
    avg_factor: Any = None,
    ignore_index: int = -100,
    **kwargs: Any,
) -> Any:
    """Return mmseg's ``cross_entropy``; see ``mend_segmentation_losses``.

    The mean with class weights is over the class weights of the pixels that
    are not ignored, as in ``torch.nn.functional.cross_entropy``.

    Args:
        pred: (N, C, ...), logits.
        label: (N, ...), long.
        weight: (N, ...) or ``None``.
        class_weight: (C,) or ``None``.
        reduction: ``none``, ``mean`` or ``sum``.
        avg_factor: What a mean is divided by.
        ignore_index: The label without a loss.
        kwargs: ``avg_non_ignore``.
    """
    from mmseg.models.losses.cross_entropy_loss import cross_entropy

    if class_weight is not None and reduction == 'mean' and avg_factor is None:
        avg_factor = class_weight[label[label != ignore_index]].sum()
    return cross_entropy(
        pred,
        label,
        weight=weight,
        class_weight=class_weight,
        reduction=reduction,
        avg_factor=avg_factor,
        ignore_index=ignore_index,
        **kwargs,
    )


def mended_binary_cross_entropy(
    pred: Tensor,
    label: Tensor,
    weight: Tensor | None = None,
    class_weight: Tensor | None = None,
    reduction: str = 'mean',
    ignore_index: int = -100,
    **kwargs: Any,
) -> Any:
    """Return mmseg's ``binary_cross_entropy``, mended likewise.

    Args:
        pred: (N, C, ...), logits.
        label: (N, ...), long, or with C channels where C is over 1.
        weight: As the label, or ``None``.
        class_weight: (C,), the weights of the channels' positives, or
            ``None``.
        reduction: ``none``, ``mean`` or ``sum``.
        ignore_index: The label without a loss.
        kwargs: ``avg_factor`` and ``avg_non_ignore``.
    """
    from mmseg.models.losses.cross_entropy_loss import binary_cross_entropy

    if pred.size(1) == 1 and not bool((label != ignore_index).any()):
        nothing = pred.squeeze(1) * 0
        return nothing if reduction == 'none' else nothing.sum()
    if class_weight is not None and pred.dim() > 2 and pred.size(1) > 1:
        class_weight = class_weight.view(-1, *[1] * (pred.dim() - 2))
    return binary_cross_entropy(
        pred,
        label,
        weight=weight,
        class_weight=class_weight,
        reduction=reduction,
        ignore_index=ignore_index,
        **kwargs,
    )


def mended_lovasz_softmax(
    logits: Tensor,
    labels: Tensor,
    classes: Any = 'present',
    per_image: bool = False,
    class_weight: Tensor | None = None,
    reduction: str = 'mean',
    avg_factor: Any = None,
    ignore_index: int | None = 255,
) -> Any:
    """Return mmseg's ``lovasz_softmax``, 0 for what has no label.

    Unlike that one it is given logits: ``LovaszLoss`` applies the softmax
    for no criterion but mmseg's.

    Args:
        logits: (B, C, H, W).
        labels: (B, H, W), long.
        classes: ``all``, ``present`` or a list of classes.
        per_image: Whether each image has a loss of its own.
        class_weight: (C,) or ``None``.
        reduction: ``none``, ``mean`` or ``sum`` over images.
        avg_factor: What a mean over images is divided by.
        ignore_index: The label that is left out.
    """
    import torch
    from mmseg.models.losses.lovasz_loss import lovasz_softmax_flat
    from mmseg.models.losses.utils import weight_reduce_loss

    scores = logits.softmax(dim=1)
    size = 1 if per_image else len(logits)
    losses = []
    for score, label in zip(
        scores.split(size), labels.split(size), strict=True
    ):
        valid = label != (-1 if ignore_index is None else ignore_index)
        rows = score.movedim(1, -1)[valid]
        losses.append(
            lovasz_softmax_flat(rows, label[valid], classes, class_weight)
            if len(rows)
            else score.sum() * 0
        )
    if not per_image:
        return losses[0]
    return weight_reduce_loss(torch.stack(losses), None, reduction, avg_factor)


_MENDED_IN = (
    'mmseg.models.losses.cross_entropy_loss',
    'mmseg.models.losses.lovasz_loss',
)
_MENDED: dict[str, Callable[..., Any]] = {
    'cross_entropy': mended_cross_entropy,
    'binary_cross_entropy': mended_binary_cross_entropy,
    'lovasz_softmax': mended_lovasz_softmax,
}


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
