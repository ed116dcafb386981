"""Test that what does not fit is refused by name before the first step."""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from mmtst.engine.resume_checks import check_kept, is_beyond_end
from mmtst.utils.errors import ConfigError

NAN = math.nan
_saved: dict[tuple[bool, str], bytes] = {}


def options(by_epoch: bool, optimizer: str, **exact: Any) -> dict[str, Any]:
    chosen: dict[str, Any] = {'type': optimizer, 'lr': 0.1}
    if optimizer == 'SGD':
        chosen['momentum'] = 0.9
    return {
        'by_epoch': by_epoch,
        'default_hooks': {
            'exact_resume': {'type': 'mmtst.ExactResumeHook', **exact},
            'checkpoint': {
                'type': 'mmtst.SafeCheckpointHook',
                'by_epoch': by_epoch,
                'interval': 1 if by_epoch else 3,
            },
        },
        'param_scheduler': [
            {'type': 'LinearLR', 'start_factor': 0.1, 'by_epoch': False},
            {'type': 'MultiStepLR', 'milestones': [2], 'by_epoch': True},
        ],
        'optim_wrapper': {'optimizer': chosen},
    }


@pytest.fixture
def resume(make_runner, tmp_path: Path) -> Callable[..., Any]:
    """Return a function that resumes a training from a spoiled checkpoint.

    It returns the runner, not yet trained.
    """

    def run(
        spoil: Callable[[dict[str, Any]], Any],
        by_epoch: bool = True,
        optimizer: str = 'SGD',
        resumed: bool = True,
        enabled: bool = True,
        **more: Any,
    ) -> Any:
        key = (by_epoch, optimizer)
        if key not in _saved:
            whole = make_runner(None, **options(*key))
            whole.train()
            name = 'epoch_1.pth' if by_epoch else 'iter_3.pth'
            _saved[key] = Path(whole.work_dir, name).read_bytes()
        content = torch.load(io.BytesIO(_saved[key]), weights_only=False)
        spoil(content)
        path = tmp_path / 'given.pth'
        torch.save(content, path)
        return make_runner(
            None,
            **{**options(*key, enabled=enabled), **more},
            load_from=str(path),
            resume=resumed,
        )

    return run


def put(value: Any, *keys: Any) -> Callable[[dict[str, Any]], None]:
    """Return what puts a value into a checkpoint."""

    def spoil(content: Any) -> None:
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = copy.deepcopy(value)

    return spoil


def drop(*keys: Any) -> Callable[[dict[str, Any]], None]:
    """Return what takes something out of a checkpoint."""

    def spoil(content: Any) -> None:
        for key in keys[:-1]:
            content = content[key]
        del content[keys[-1]]

    return spoil


def history(**changes: Any) -> HistoryBuffer:
    buffer = HistoryBuffer([1.0], [1])
    vars(buffer).update(changes)
    return buffer


POLICY = ('state_dict', 'augmentation.th_p')
WEIGHT = ('state_dict', 'student.weight')
HUB = ('message_hub',)
RESUMED = (*HUB, 'resumed_keys')
GROUP = ('optimizer', 'param_groups', 0)
STATE = ('optimizer', 'state')
WARM_UP = ('param_schedulers', 0)
STEPS = ('param_schedulers', 1)

SPOILED = [
    (put(torch.zeros(15), *POLICY), 'th_p has another shape'),
    (put(torch.zeros(()), *POLICY), 'th_p has another shape'),
    (put(torch.full((14,), NAN), *POLICY), 'th_p is not finite'),
    (put(torch.full((14,), -math.inf), *POLICY), 'th_p is not finite'),
    (put(torch.full((11,), NAN), *POLICY[:1], 'augmentation.th_m'), 'th_m'),
    (put(torch.zeros(14, dtype=torch.long), *POLICY), 'another kind'),
    (put(torch.zeros(14, dtype=torch.cfloat), *POLICY), 'another kind'),
    (put(torch.full((14,), 1e30), *POLICY), 'th_p reaches 1e+30'),
    (put([0.0] * 14, *POLICY), 'th_p is no tensor'),
    (put('x', *POLICY), 'th_p is no tensor'),
    (drop(*POLICY), 'lacks: augmentation.th_p'),
    (drop(*WEIGHT), 'lacks: student.weight'),
    (put(torch.zeros(3), 'state_dict', 'student.x'), 'has not: student.x'),
    (put(torch.zeros(3), 'state_dict', 7), 'has not: 7'),
    (put(torch.full((1, 2), NAN), *WEIGHT), 'student.weight is not finite'),
    (put(torch.zeros(2, 1), *WEIGHT), 'student.weight has another shape'),
    (put([1], 'state_dict'), 'holds no weights'),
    (put({}, 'state_dict'), 'holds no weights'),
    # Where it stands.
    (drop('meta'), 'does not say where'),
    (put([1], 'meta'), 'does not say where'),
    (put({}, 'meta'), 'meta.epoch'),
    (put(-1, 'meta', 'epoch'), 'meta.epoch'),
    (put(1.0, 'meta', 'epoch'), 'meta.epoch'),
    (put(True, 'meta', 'epoch'), 'meta.epoch'),
    (put(10**30, 'meta', 'epoch'), 'meta.epoch'),
    (put('1', 'meta', 'iter'), 'meta.iter'),
    (put(None, 'meta', 'iter'), 'meta.iter'),
    (put(torch.tensor(4), 'meta', 'iter'), 'meta.iter'),
    (put(-4, 'meta', 'iter'), 'meta.iter'),
    (put(3, 'meta', 'iter'), '1 epochs of this training are 4 iterations'),
    (put(2, 'meta', 'epoch'), '2 epochs of this training are 8 iterations'),
    (put('seven', 'meta', 'seed'), 'meta.seed'),
    (put(-1, 'meta', 'seed'), 'meta.seed'),
    (put(2**40, 'meta', 'seed'), 'meta.seed'),
    # The message hub.
    (drop(*HUB), 'message hub'),
    (put('x', *HUB), 'message hub'),
    (drop(*HUB, 'log_scalars'), 'message hub'),
    (put([1], *HUB, 'runtime_info'), 'message hub'),
    (put(None, *RESUMED), 'message hub'),
    (put(True, *RESUMED, 3), 'no string'),
    (put(1, *HUB, 'runtime_info', 3), 'no string'),
    (put('yes', *RESUMED, 'iter'), 'resumed_keys.iter'),
    (put(False, *RESUMED, 'iter'), 'resumed_keys.iter'),
    (
        put(history(_log_history='x'), *HUB, 'log_scalars', 'train/lr'),
        'log_scalars.train/lr',
    ),
    (
        put(
            history(_log_history=np.zeros((2, 2))),
            *HUB,
            'log_scalars',
            'train/lr',
        ),
        'log_scalars.train/lr',
    ),
    (
        put(history(max_length=0), *HUB, 'log_scalars', 'train/lr'),
        'log_scalars.train/lr',
    ),
    (put([1], 'exact_resume'), 'exact_resume'),
    (put({'.training': 'no'}, 'exact_resume'), 'exact_resume'),
    (put({'._modules': 5}, 'exact_resume'), 'exact_resume'),
    # The optimizer.
    (drop('optimizer'), "no optimizer's state"),
    (put(None, 'optimizer'), 'optimizer is no dictionary'),
    (put([], 'optimizer'), 'optimizer is no dictionary'),
    (put({}, 'optimizer'), 'param_groups is no list'),
    (put([], 'optimizer', 'param_groups'), 'param_groups is no list'),
    (put('ab', 'optimizer', 'param_groups'), 'param_groups is no list'),
    (put(7, *GROUP), 'param_groups[0] is no dictionary'),
    (put([0], *GROUP, 'params'), 'params does not name 2 parameters'),
    (put([0, 0], *GROUP, 'params'), 'params does not name 2 parameters'),
    (drop(*GROUP, 'params'), 'lacks params'),
    (drop(*GROUP, 'lr'), 'lacks lr'),
    (put(NAN, *GROUP, 'lr'), 'lr is nan'),
    (put('high', *GROUP, 'lr'), "lr is 'high'"),
    (put(-0.1, *GROUP, 'lr'), 'lr is negative'),
    (put([0.1], *GROUP, 'momentum'), 'momentum is [0.1]'),
    (put(True, *GROUP, 'weight_decay'), 'weight_decay is True'),
    (put(3, *GROUP, 'nesterov'), 'nesterov is 3'),
    (put(None, *STATE), 'state is no dictionary'),
    (put({}, *STATE), 'state is empty'),
    (put({'momentum_buffer': None}, *STATE, 9), 'has 9'),
    (put({'momentum_buffer': None}, *STATE, 'a'), "has 'a'"),
    (put([1], *STATE, 0), 'state.0 is no dictionary'),
    (put(torch.zeros(5), *STATE, 0, 'momentum_buffer'), 'the shape (5,)'),
    (put('x', *STATE, 0, 'momentum_buffer'), 'no tensor'),
    (
        put(torch.full((1, 2), NAN), *STATE, 0, 'momentum_buffer'),
        'momentum_buffer is not finite',
    ),
    (put([1], 'optimizer', 'base_param_settings'), 'base_param_settings'),
    (put(3, 'optimizer', 'loss_scaler'), 'loss_scaler is no dictionary'),
    # The schedulers.
    (drop('param_schedulers'), "no schedulers' states"),
    (put(None, 'param_schedulers'), 'a list of 2 states'),
    (put({'a': []}, 'param_schedulers'), 'a list of 2 states'),
    (put([], 'param_schedulers'), 'a list of 2 states'),
    (drop(*WARM_UP), 'a list of 2 states'),
    (put('x', *WARM_UP), 'is no dictionary'),
    (put({}, *WARM_UP), 'lacks'),
    (put(5, *WARM_UP, 'step'), "has 'step'"),
    (put(None, *WARM_UP, 'optimizer'), "has 'optimizer'"),
    (put(NAN, *WARM_UP, 'start_factor'), 'start_factor is nan'),
    (put('x', *WARM_UP, 'last_step'), "last_step is 'x'"),
    (put(1.5, *WARM_UP, 'last_step'), 'last_step is 1.5'),
    (put(7, *WARM_UP, '_global_step'), 'stands at another step'),
    (put([0.1, 0.1], *WARM_UP, 'base_values'), 'has 2 entries in place of 1'),
    (put([NAN], *WARM_UP, 'base_values'), 'base_values[0] is nan'),
    (put(0.1, *WARM_UP, '_last_value'), '_last_value is no list'),
    (put([2], *STEPS, 'milestones'), 'milestones is no dictionary'),
    (put({'a': 1}, *STEPS, 'milestones'), 'milestones holds what is no'),
]


@pytest.mark.parametrize(
    ('spoil', 'words'), SPOILED, ids=[words for _, words in SPOILED]
)
def test_what_does_not_fit_is_refused_by_name(
    resume, spoil: Callable[[dict[str, Any]], Any], words: str
) -> None:
    runner = resume(spoil)
    before = {k: v.clone() for k, v in runner.model.state_dict().items()}
    with pytest.raises(
        ConfigError, match='cannot be resumed|no weights'
    ) as caught:
        runner.train()
    assert words in str(caught.value)
    assert 'given.pth' in str(caught.value)
    assert max(map(len, str(caught.value).splitlines())) < 400
    assert runner.model.trained == []
    for name, value in runner.model.state_dict().items():
        assert torch.equal(value, before[name])


ADAM = [
    (drop(*STATE, 0, 'exp_avg_sq'), 'state.0 lacks exp_avg_sq'),
    (put(torch.zeros(1, 3), *STATE, 0, 'exp_avg'), 'the shape (1, 3)'),
    (put(torch.tensor(NAN), *STATE, 0, 'step'), 'step is not finite'),
    (put((0.9,), *GROUP, 'betas'), 'has 1 entries in place of 2'),
    (put((0.9, 'x'), *GROUP, 'betas'), "betas[1] is 'x'"),
    (put(None, *GROUP, 'betas'), 'betas is no list'),
]


@pytest.mark.parametrize(('spoil', 'words'), ADAM, ids=[w for _, w in ADAM])
def test_so_are_the_states_of_other_optimizers(
    resume, spoil: Callable[[dict[str, Any]], Any], words: str
) -> None:
    runner = resume(spoil, optimizer='AdamW')
    with pytest.raises(ConfigError, match='optimizer') as caught:
        runner.train()
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ('by_epoch', 'optimizer'),
    [(True, 'SGD'), (True, 'AdamW'), (False, 'SGD'), (False, 'AdamW')],
)
def test_what_fits_goes_on(resume, by_epoch: bool, optimizer: str) -> None:
    runner = resume(lambda content: None, by_epoch, optimizer)
    runner.train()
    assert len(runner.model.trained) == (8 if by_epoch else 5)


EMA = ('ema_state_dict', 'module.student.weight')


@pytest.mark.parametrize(
    ('spoil', 'words'),
    [
        (put(torch.full((1, 2), NAN), *EMA), 'weight is not finite'),
        (put(torch.zeros(5), *EMA), 'weight has another shape'),
        (drop(*EMA), 'lacks: module.student.weight'),
        (put(1, *EMA[:1], 'x'), 'has not: x'),
        (put([1], *EMA[:1]), 'ema_state_dict'),
        (drop(*EMA[:1]), 'ema_state_dict'),
        (put(torch.tensor(4), *EMA[:1], 'steps'), ''),
    ],
)
def test_averaged_weights_have_to_fit_too(
    resume, make_runner, spoil: Callable[[dict[str, Any]], Any], words: str
) -> None:
    def with_average(content: dict[str, Any]) -> None:
        model = {f'module.{k}': v for k, v in content['state_dict'].items()}
        content['ema_state_dict'] = {'steps': torch.tensor(4), **model}
        spoil(content)

    runner = resume(with_average, custom_hooks=[{'type': 'EMAHook'}])
    if not words:
        runner.train()
        assert runner.model.trained
        return
    with pytest.raises(ConfigError) as caught:
        runner.train()
    assert words in str(caught.value)
    assert runner.model.trained == []


def test_another_kind_of_loop_is_refused(resume) -> None:
    runner = resume(put(1, 'meta', 'epoch'), by_epoch=False)
    with pytest.raises(ConfigError, match='counts epochs') as caught:
        runner.train()
    assert 'exact_resume=dict(enabled=False)' in str(caught.value)


@pytest.mark.parametrize(
    ('spoil', 'refused'),
    [
        (put(5, 'meta', 'iter'), False),
        (drop('optimizer'), False),
        (drop('param_schedulers'), False),
        (put(7, *WARM_UP, '_global_step'), False),
        (put(torch.full((14,), NAN), *POLICY), True),
        (put(NAN, *GROUP, 'lr'), True),
    ],
)
def test_without_exactness_what_is_whole_goes_on(
    resume, spoil: Callable[[dict[str, Any]], Any], refused: bool
) -> None:
    runner = resume(spoil, enabled=False)
    if refused:
        with pytest.raises(ConfigError):
            runner.train()
    else:
        runner.train()
        assert runner.model.trained


def test_weights_that_are_only_loaded_are_not_looked_at(resume) -> None:
    runner = resume(drop('optimizer'), resumed=False)
    runner.train()
    assert len(runner.model.trained) == 12


@pytest.mark.parametrize('by_epoch', [True, False])
@pytest.mark.parametrize('search', [False, True])
@pytest.mark.parametrize('epochs', [6, 12])
def test_past_the_end_there_is_nothing_left_to_do(
    resume, by_epoch: bool, search: bool, epochs: int
) -> None:
    """As at the end: epoch 6 of 3, or the last one itself."""

    def spoil(content: dict[str, Any]) -> None:
        content['meta'].update(
            epoch=epochs if by_epoch else 0, iter=4 * epochs
        )
        for state, step in zip(
            content['param_schedulers'],
            (4 * epochs, epochs if by_epoch else 0),
            strict=True,
        ):
            state['_global_step'] = step

    length = {'by_epoch': True, 'max_epochs': 6, 'val_interval': 1}
    if not by_epoch:
        length = {'by_epoch': False, 'max_iters': 24}
    hooks = [{'type': 'mmtst.ValidateOnResumeHook'}]
    if search:
        at = {'at': [1], 'by_epoch': by_epoch, 'iterations': 1}
        hooks.append({'type': 'mmtst.PolicySearchHook', **at})
    runner = resume(spoil, by_epoch, train_cfg=length, custom_hooks=hooks)
    runner.train()
    assert runner.model.trained == []
    (log,) = Path(runner.work_dir).glob(f'{runner.timestamp}/*.log')
    assert 'there is nothing left to do' in log.read_text()


@pytest.mark.parametrize('key', [None, 'optimizer', 'param_schedulers'])
def test_past_the_end_what_is_not_used_does_not_matter(
    resume, key: str | None
) -> None:
    def spoil(content: dict[str, Any]) -> None:
        content['meta']['epoch'] = 12
        if key is not None:
            del content[key]

    runner = resume(spoil)
    runner.train()
    assert runner.model.trained == []


def test_loops_of_others_have_their_own_ends() -> None:
    assert not is_beyond_end(object(), 12, 100)


@pytest.mark.parametrize(
    ('own', 'given', 'good'),
    [
        ((64, 64), (64, 96), True),
        (None, (64, 96), True),
        ((64, 64), None, True),
        (3, 4.5, True),
        (True, False, True),
        (True, 1, False),
        (3, True, False),
        (3, '3', False),
        ('a', 3, False),
        ((64, 64), 64, False),
    ],
)
def test_what_was_kept_has_to_be_of_the_same_kind(
    resume, own: Any, given: Any, good: bool
) -> None:
    class Runner:
        _load_from = 'given.pth'

    if good:
        assert check_kept(Runner, {'.a': given}, {'.a': own}, 'x') == {
            '.a': given
        }
        return
    with pytest.raises(ConfigError, match=r'x\.\.a'):
        check_kept(Runner, {'.a': given}, {'.a': own}, 'x')


@pytest.mark.parametrize('key', ['train/lr', 'train/of_a_users_hook'])
def test_scalars_that_were_not_saved_stop_nothing(resume, key: str) -> None:
    """A hook may log some with ``resumed=False``; mmengine notes the name."""
    runner = resume(put(False, *RESUMED, key))
    runner.train()
    assert runner.model.trained != []
    assert runner.message_hub._resumed_keys['train/lr'] is True
