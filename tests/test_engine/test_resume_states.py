"""Test the comparison of states with several optimizers and schedulers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.optim import (
    AmpOptimWrapper,
    ConstantLR,
    OptimWrapper,
    OptimWrapperDict,
)
from torch import nn

from mmtst.engine.resume_states import check_optimizer, check_schedulers
from mmtst.utils.errors import ConfigError


def build(momentum: float = 0.9, amp: bool = False) -> tuple[Any, Any]:
    """Return a runner with two optimizers, and what it has saved."""
    wrappers, schedulers = {}, {}
    for name in ('a', 'b'):
        line = nn.Linear(2, 1)
        optimizer = torch.optim.SGD(line.parameters(), 0.1, momentum)
        kind = AmpOptimWrapper if amp else OptimWrapper
        wrappers[name] = kind(optimizer=optimizer)
        schedulers[name] = [ConstantLR(optimizer, 0.5)]
        line(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        schedulers[name][0].step()
    runner = SimpleNamespace(
        optim_wrapper=OptimWrapperDict(**wrappers),
        param_schedulers=schedulers,
        _load_from='given.pth',
    )
    saved = {
        'optimizer': runner.optim_wrapper.state_dict(),
        'param_schedulers': {
            name: [each.state_dict() for each in value]
            for name, value in schedulers.items()
        },
    }
    return runner, copy.deepcopy(saved)


def check(runner: Any, saved: Any, position: Any = (1, 5)) -> None:
    check_optimizer(runner, saved, exact=True)
    check_schedulers(runner, saved, position)


def test_its_own_fit() -> None:
    check(*build())
    check(*build(momentum=0.0))
    runner, saved = build()
    runner.param_schedulers = None
    del saved['param_schedulers']
    check(runner, saved)


@pytest.mark.parametrize(
    ('spoil', 'words'),
    [
        (lambda s: s['optimizer'].pop('a'), 'optimizers are not those'),
        (lambda s: s['optimizer'].update(c={}), 'optimizers are not those'),
        (lambda s: s['optimizer'].update(b=[1]), 'optimizer.b is no'),
        (lambda s: s['param_schedulers'].pop('b'), 'schedulers are not'),
        (lambda s: s.update(param_schedulers=[[], []]), 'schedulers are not'),
        (
            lambda s: s['param_schedulers'].update(b=[]),
            'param_schedulers.b of',
        ),
    ],
)
def test_each_of_several_is_named(
    spoil: Callable[[dict[str, Any]], Any], words: str
) -> None:
    runner, saved = build()
    spoil(saved)
    with pytest.raises(ConfigError) as caught:
        check(runner, saved)
    assert words in str(caught.value)


def test_mixed_precision_may_be_switched_on_and_off() -> None:
    plain, saved = build()
    mixed = copy.deepcopy(saved)
    for state in mixed['optimizer'].values():
        state['loss_scaler'] = {'scale': 2.0**16}
    check(plain, mixed)
    mixed['optimizer']['a']['loss_scaler'] = 'x'
    with pytest.raises(ConfigError, match='loss_scaler is no dictionary'):
        check(plain, mixed)


def test_where_nothing_has_to_agree_positions_may_differ() -> None:
    runner, saved = build()
    check(runner, saved, None)
    with pytest.raises(ConfigError, match='another step'):
        check(runner, saved, (2, 5))
    # A momentum of 0 leaves nothing to save.
    runner, saved = build(momentum=0.0)
    saved['optimizer']['a']['state'] = {}
    check(runner, saved)
