"""Test what is read from a runner, and that its clock is put right."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.hooks import IterTimerHook
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from torch import nn

from mmtst.engine import run_context
from mmtst.engine.run_context import (
    common_seed,
    excuse_timers,
    search_model,
    training_autocast,
)
from mmtst.utils.errors import ConfigError


def _amp(dtype: torch.dtype | None) -> Any:
    # Built past its constructor, which needs a GPU.
    wrapper = AmpOptimWrapper.__new__(AmpOptimWrapper)
    wrapper.cast_dtype = dtype
    return SimpleNamespace(optim_wrapper=wrapper)


def test_the_model_is_unwrapped(make_model) -> None:
    model = make_model()
    assert search_model(SimpleNamespace(model=model)) is model
    wrapper = MMDistributedDataParallel.__new__(MMDistributedDataParallel)
    nn.Module.__init__(wrapper)
    wrapper.module = model
    assert search_model(SimpleNamespace(model=wrapper)) is model


def test_other_models_are_refused_by_name() -> None:
    with pytest.raises(ConfigError) as caught:
        search_model(SimpleNamespace(model=nn.Linear(1, 1)))
    message = str(caught.value)
    assert 'search_objective' in message
    assert "'Linear'" in message
    assert 'mmtst.TSTDistill' in message


def test_full_precision_has_no_autocast_and_no_scale() -> None:
    parameters = [nn.Parameter(torch.zeros(1))]
    wrapper = OptimWrapper(torch.optim.SGD(parameters, lr=1))
    context, scale = training_autocast(SimpleNamespace(optim_wrapper=wrapper))
    assert context is nullcontext
    assert scale == 1


def test_bf16_is_cast_without_a_scale() -> None:
    context, scale = training_autocast(_amp(torch.bfloat16))
    with context():
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == torch.bfloat16
    assert scale == 1
    # The context can be entered again.
    with context():
        assert torch.is_autocast_enabled('cpu')


def test_fp16_is_scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    assert training_autocast(_amp(torch.float16))[1] == 2**16
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    assert training_autocast(_amp(None))[1] == 2**16
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert training_autocast(_amp(None))[1] == 1


def test_all_ranks_take_the_first_ranks_seed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runner = SimpleNamespace(seed=41)
    assert common_seed(None, runner) == 41
    assert common_seed(3, runner) == 3

    def from_first_rank(tensor: torch.Tensor, src: int) -> None:
        assert src == 0
        tensor.fill_(40)

    monkeypatch.setattr(run_context, 'broadcast', from_first_rank)
    assert common_seed(None, runner) == 40


def test_timers_are_moved_on() -> None:
    running, fresh, other = IterTimerHook(), IterTimerHook(), SimpleNamespace()
    running.t = other.t = 100.0
    excuse_timers(SimpleNamespace(hooks=[running, fresh, other]), 7.5)
    assert running.t == 107.5
    assert not hasattr(fresh, 't')
    assert other.t == 100.0
