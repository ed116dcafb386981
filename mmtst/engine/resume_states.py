"""Check the states of optimizers and schedulers in a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from mmengine.optim import OptimWrapperDict
from torch import Tensor
from torch.optim import SGD, Adam, AdamW

from mmtst.engine.resume_words import difference, is_number, misfit
from mmtst.engine.written_files import is_whole

# What a parameter's state needs in these optimizers' steps.
_NEEDED = {
    Adam: ('step', 'exp_avg', 'exp_avg_sq'),
    AdamW: ('step', 'exp_avg', 'exp_avg_sq'),
}
_COUNTERS = ('last_step', '_global_step', 'begin', 'end')


def check_optimizer(
    runner: Any, checkpoint: Mapping[str, Any], exact: bool
) -> None:
    """Refuse an optimizer's state that is not of this training's.

    Args:
        runner: Of a training, its optimizer built.
        checkpoint: What the file holds.
        exact: Whether a checkpoint without such a state is refused.

    Raises:
        ConfigError: The state does not fit.
    """
    given = checkpoint.get('optimizer')
    if given is None and 'optimizer' not in checkpoint:
        if exact:
            raise misfit(
                runner,
                "it holds no optimizer's state (those of the best ones hold "
                'none)',
                'optimizer',
                off=True,
            )
        return
    for name, wrapper, state in _paired(runner, given):
        _check_state(runner, name, wrapper, state)


def check_schedulers(
    runner: Any,
    checkpoint: Mapping[str, Any],
    position: tuple[int, int] | None,
) -> None:
    """Refuse schedulers' states that are not of this training's.

    Args:
        runner: Of a training, its schedulers built.
        checkpoint: What the file holds.
        position: Epoch and iteration at which the schedulers have to stand;
            ``None`` leaves that open.

    Raises:
        ConfigError: A state does not fit.
    """
    own = runner.param_schedulers
    if not own:
        return
    given = checkpoint.get('param_schedulers')
    if given is None and 'param_schedulers' not in checkpoint:
        if position is not None:
            raise misfit(
                runner,
                "it holds no schedulers' states",
                'param_schedulers',
                off=True,
            )
        return
    owns = own if isinstance(own, dict) else {'': own}
    givens = given if isinstance(own, dict) else {'': given}
    if not isinstance(givens, dict) or set(givens) != set(owns):
        raise misfit(
            runner,
            'its schedulers are not those of this training',
            'param_schedulers',
            given,
            f'one list for each of {", ".join(owns)}',
        )
    for name, schedulers in owns.items():
        where = f'param_schedulers.{name}'.removesuffix('.')
        states = givens[name]
        if not isinstance(states, (list, tuple)) or len(states) != len(
            schedulers
        ):
            raise misfit(
                runner,
                'its schedulers are not those of this training',
                where,
                states,
                f'a list of {len(schedulers)} states',
            )
        for i, (scheduler, state) in enumerate(
            zip(schedulers, states, strict=True)
        ):
            _check_scheduler(
                runner, scheduler, state, f'{where}[{i}]', position
            )


def _check_scheduler(
    runner: Any,
    scheduler: Any,
    state: Any,
    where: str,
    position: tuple[int, int] | None,
) -> None:
    own = scheduler.state_dict()
    kind = type(scheduler).__name__
    problem = difference(own, state, where)
    for key in _COUNTERS:
        if problem is None and key in own and type(state[key]) is not int:
            problem = f'{where}.{key} is {state[key]!r:.60}, no whole number'
        elif problem is None and key in own and state[key] < min(own[key], 0):
            problem = f'{where}.{key} is {state[key]!r:.60}, below 0'
    if problem is not None:
        raise misfit(
            runner,
            f'the state of {kind} does not fit: {problem}',
            where,
            allowed='what this very scheduler has saved',
        )
    if position is None or '_global_step' not in own:
        return
    expected = position[0 if scheduler.by_epoch else 1]
    if state['_global_step'] != expected:
        raise misfit(
            runner,
            f'{kind} stands at another step than the training',
            f'{where}._global_step',
            state['_global_step'],
            str(expected),
            off=True,
        )


def _paired(runner: Any, given: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, wrapper and given state of each optimizer."""
    wrappers = runner.optim_wrapper
    if not isinstance(wrappers, OptimWrapperDict):
        yield 'optimizer', wrappers, given
        return
    names = set(wrappers.keys())
    if not isinstance(given, dict) or set(given) != names:
        raise misfit(
            runner,
            'its optimizers are not those of this training',
            'optimizer',
            list(given) if isinstance(given, dict) else type(given).__name__,
            ', '.join(sorted(names)),
        )
    for name, wrapper in wrappers.items():
        yield f'optimizer.{name}', wrapper, given[name]


def _check_state(runner: Any, where: str, wrapper: Any, given: Any) -> None:
    own = wrapper.state_dict()
    if not own.get('param_groups'):
        return  # Shared out over the ranks: the first has it all.
    problem = _find_problem(own, given, wrapper, where)
    if problem is not None:
        raise misfit(
            runner,
            f"the optimizer's state does not fit: {problem}",
            where,
            allowed='what the optimizer of this very training has saved',
        )


def _find_problem(
    own: dict[str, Any], given: Any, wrapper: Any, where: str
) -> str | None:
    if not isinstance(given, dict):
        return f'{where} is no dictionary'
    groups, states = given.get('param_groups'), given.get('state')
    own_groups = own['param_groups']
    if not isinstance(groups, list) or len(groups) != len(own_groups):
        return f'{where}.param_groups is no list of {len(own_groups)} groups'
    if not isinstance(states, dict):
        return f'{where}.state is no dictionary'
    for i, (mine, theirs) in enumerate(zip(own_groups, groups, strict=True)):
        problem = _differs(mine, theirs, f'{where}.param_groups[{i}]')
        if problem is not None:
            return problem
    for key in ('base_param_settings', 'loss_scaler'):
        # Neither is needed: mixed precision may be switched on, and off.
        if key not in given:
            continue
        if not isinstance(given[key], dict):
            return f'{where}.{key} is no dictionary'
        if own.get(key) and given[key]:
            problem = _differs(own[key], given[key], f'{where}.{key}')
            if problem is not None:
                return problem
    return _find_state_problem(wrapper.optimizer, states, f'{where}.state')


def _differs(mine: dict[str, Any], theirs: Any, path: str) -> str | None:
    """Compare hyperparameters; versions of torch may add and drop switches."""
    if not isinstance(theirs, dict):
        return f'{path} is no dictionary'
    for key, value in mine.items():
        if key not in theirs:
            if value is None or isinstance(value, bool):
                continue
            return f'{path} lacks {key}'
        if key == 'params' and isinstance(value, list):
            if theirs[key] != value:
                count = len(value)
                return f'{path}.params does not name {count} parameters'
            continue
        problem = difference(value, theirs[key], f'{path}.{key}')
        if problem is not None:
            return problem
        both = is_number(value) and is_number(theirs[key])
        if both and value >= 0 > theirs[key]:
            return f'{path}.{key} is negative: {theirs[key]!r}'
    return None


def _find_state_problem(
    optimizer: Any, states: dict[Any, Any], path: str
) -> str | None:
    parameters = [p for g in optimizer.param_groups for p in g['params']]
    for index, state in states.items():
        if not is_whole(index) or index >= len(parameters):
            return f'{path} has {index!r:.60}, which is no parameter'
        if not isinstance(state, dict):
            return f'{path}.{index} is no dictionary'
        # Without any the optimizer makes its own.
        for name in _NEEDED.get(type(optimizer), ()) if state else ():
            if name not in state:
                return f'{path}.{index} lacks {name}'
        for name, value in state.items():
            problem = _find_value_problem(optimizer, parameters[index], value)
            if problem is not None:
                return f'{path}.{index}.{name} {problem}'
    keeps = any(
        g.get('momentum') or type(optimizer) in _NEEDED
        for g in optimizer.param_groups
    )
    if keeps and parameters and not states:
        return f'{path} is empty'
    return None


def _find_value_problem(
    optimizer: Any, parameter: Tensor, value: Any
) -> str | None:
    if value is None or is_number(value):
        return None
    if not isinstance(value, Tensor):
        return f'is {value!r:.60}, no tensor'
    if not bool(torch.isfinite(value).all()):
        return 'is not finite'
    known = type(optimizer) in (SGD, *_NEEDED)
    if known and value.numel() != 1 and value.shape != parameter.shape:
        return (
            f'has the shape {tuple(value.shape)}, its parameter '
            f'{tuple(parameter.shape)}'
        )
    return None
