"""Hold models still while something else is searched through them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

_DROPPING_NAMES = ('Drop', 'StochasticDepth')
_ATTENTION_NAMES = ('Attention', 'Attn', 'MSA', 'DenseLayer')


def updates_statistics(module: nn.Module) -> bool:
    """Tell whether a module in train mode uses and updates batch statistics.

    Batch norms count by class name or by their running buffers, since mmcv's
    SyncBatchNorm is no torch ``_BatchNorm``; instance norms count where they
    track.

    Args:
        module: The module itself; its children are not looked at.
    """
    if isinstance(module, _InstanceNorm):
        return bool(module.track_running_stats)
    if isinstance(module, _BatchNorm) or any(
        'BatchNorm' in cls.__name__ for cls in type(module).__mro__
    ):
        return True
    return (
        getattr(module, 'running_mean', None) is not None
        and getattr(module, 'running_var', None) is not None
    )


def drops_at_random(module: nn.Module) -> bool:
    """Tell whether a module in train mode drops something at random.

    True for dropout of every class, DropPath, DropBlock and stochastic depth
    (by class name, as every package has its own), and for attention layers
    that call the functional dropout with a positive rate.

    Args:
        module: The module itself; its children are not looked at.
    """
    names = [cls.__name__ for cls in type(module).__mro__]
    if any(word in name for name in names for word in _DROPPING_NAMES):
        return True
    if not any(word in name for name in names for word in _ATTENTION_NAMES):
        return False
    return any(
        'drop' in name and isinstance(value, float) and value > 0
        for name, value in vars(module).items()
    )


@contextmanager
def frozen_statistics(*modules: nn.Module) -> Iterator[None]:
    """Run models in train mode without randomness or a trace.

    Inside, every submodule is in train mode (heads may compute another loss
    in eval mode, as FCOS does) save those that would use batch statistics or
    drop at random, which are in eval mode. The flags are set one by one,
    since a model's own ``train`` may do more than set them. On leaving, also
    by an exception, every ``training`` flag and every buffer is as it was.
    State that is neither (Python attributes) is not restored.

    Args:
        *modules: The models to hold, each with all its submodules.
    """
    members = {
        id(member): member for root in modules for member in root.modules()
    }
    flags = [(member, member.training) for member in members.values()]
    buffers: list[tuple[nn.Module, str, Tensor | None, Tensor | None]] = [
        (
            member,
            name,
            buffer,
            None if buffer is None else buffer.detach().clone(),
        )
        for member in members.values()
        for name, buffer in member._buffers.items()
    ]
    try:
        for member in members.values():
            member.training = not (
                updates_statistics(member) or drops_at_random(member)
            )
        yield
    finally:
        for member, training in flags:
            member.training = training
        with torch.no_grad():
            for member, name, buffer, copy in buffers:
                member._buffers[name] = buffer
                if buffer is None or copy is None:
                    continue
                # A write would spoil graphs that were built inside.
                if not torch.equal(buffer, copy):
                    buffer.copy_(copy)


@contextmanager
def frozen_parameters(*modules: nn.Module) -> Iterator[None]:
    """Let no parameter require gradients, then restore each one's flag.

    Gradients still flow through the models to their inputs. Parameters that
    were frozen before stay so; ``.grad`` is not touched.

    Args:
        *modules: The models to hold, each with all its parameters.
    """
    flags = {
        id(parameter): (parameter, parameter.requires_grad)
        for root in modules
        for parameter in root.parameters()
    }
    try:
        for parameter, _ in flags.values():
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter, requires_grad in flags.values():
            parameter.requires_grad_(requires_grad)


@contextmanager
def preserved_attributes(*models: nn.Module) -> Iterator[None]:
    """Give every module back the attributes that it had.

    For data preprocessors whose batch augmentations keep a state, such as the
    size that mmdet's ``BatchSyncRandomResize`` has drawn. Attributes are
    bound again, not copied: what is changed in place stays changed.

    Args:
        models: Modules, with all their children.
    """
    modules = [module for model in models for module in model.modules()]
    saved = [dict(vars(module)) for module in modules]
    try:
        yield
    finally:
        for module, attributes in zip(modules, saved, strict=True):
            vars(module).clear()
            vars(module).update(attributes)
