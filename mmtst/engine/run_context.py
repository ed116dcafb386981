"""Read from a runner what a search needs, and leave its clock right."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from mmengine.dist import broadcast
from mmengine.hooks import IterTimerHook
from mmengine.model import is_model_wrapper
from mmengine.optim import AmpOptimWrapper
from mmengine.runner.amp import autocast

from mmtst.engine.search_types import SearchModel
from mmtst.utils.errors import ConfigError


def bare_model(runner: Any) -> Any:
    """Return the model itself, without the wrapper of several processes."""
    model = runner.model
    return model.module if is_model_wrapper(model) else model


def search_model(runner: Any) -> SearchModel:
    """Return the bare model, if it can be searched.

    Raises:
        ConfigError: If it cannot.
    """
    model = bare_model(runner)
    needed = (
        'augmentation',
        'search_mode',
        'prepare_search_batch',
        'draw_views',
        'search_objective',
    )
    missing = [name for name in needed if not hasattr(model, name)]
    if missing:
        raise ConfigError(
            'This model has no policy to search: it lacks '
            + ', '.join(missing),
            where='model.type',
            got=type(model).__name__,
            allowed='mmtst.TSTDistill',
            fix='use it, or take PolicySearchHook out of custom_hooks',
        )
    searchable: SearchModel = model
    return searchable


def common_seed(seed: int | None, runner: Any) -> int:
    """Return one seed on all ranks; ``diff_rank_seed`` gives each its own."""
    value = torch.tensor([runner.seed if seed is None else seed])
    broadcast(value, src=0)
    return int(value.item())


def training_autocast(
    runner: Any,
) -> tuple[Callable[[], AbstractContextManager[Any]], float]:
    """Return the training's autocast context, and a loss scale for it.

    Only the autocast part of ``optim_context``: nothing here accumulates or
    synchronizes the student's gradients. The scale is over 1 for fp16, the
    exponents of which are too short for small gradients.
    """
    wrapper = runner.optim_wrapper
    if not isinstance(wrapper, AmpOptimWrapper):
        return nullcontext, 1.0
    dtype = wrapper.cast_dtype
    on_cpu = not torch.cuda.is_available()
    half = dtype == torch.float16 or (dtype is None and not on_cpu)
    return partial(autocast, dtype=dtype), 2.0**16 if half else 1.0


def excuse_timers(runner: Any, seconds: float) -> None:
    """Take the time of a search out of the training's iteration time.

    ``IterTimerHook`` holds the moment at which the last iteration ended.
    """
    for hook in runner.hooks:
        if isinstance(hook, IterTimerHook) and hasattr(hook, 't'):
            hook.t += seconds
