"""Test that a resumed training is the uninterrupted one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseDataPreprocessor
from mmengine.registry import HOOKS

from mmtst.utils.errors import ConfigError

EXACT = {'type': 'mmtst.ExactResumeHook'}
OFF = {**EXACT, 'enabled': False}


@HOOKS.register_module()
class NoisyHook(Hook):
    """Draws as dropout does, and steps by what it has drawn."""

    def after_train_iter(self, runner, batch_idx, **kwargs) -> None:
        with torch.no_grad():
            for parameter in runner.model.student.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=1e-3)


def options(by_epoch: bool, **more: Any) -> dict[str, Any]:
    hooks = {
        'exact_resume': EXACT,
        'noise': {'type': 'NoisyHook'},
        'checkpoint': {
            'type': 'CheckpointHook',
            'by_epoch': by_epoch,
            'interval': 1 if by_epoch else 3,
        },
        **more.pop('hooks', {}),
    }
    optimizer = {'type': 'SGD', 'lr': 0.1, 'momentum': 0.9}
    return {
        'by_epoch': by_epoch,
        'default_hooks': hooks,
        'optim_wrapper': {'optimizer': optimizer},
        **more,
    }


SEARCH = {
    True: {'at': [1], 'iterations': 3, 'lr': 1.0},
    False: {'at': [4], 'by_epoch': False, 'iterations': 3, 'lr': 1.0},
}


def outcome(runner: Any) -> dict[str, Any]:
    """Return everything that a training leaves behind."""
    optimizer = runner.optim_wrapper.state_dict()
    momentum = [s['momentum_buffer'] for s in optimizer['state'].values()]
    return {
        'state': {k: v.clone() for k, v in runner.model.state_dict().items()},
        'momentum': [m.clone() for m in momentum],
        'schedulers': [s.state_dict() for s in runner.param_schedulers],
        'trained': runner.model.trained,
    }


def assert_same(one: dict[str, Any], two: dict[str, Any]) -> None:
    for name, value in one['state'].items():
        assert torch.equal(value, two['state'][name]), name
    for a, b in zip(one['momentum'], two['momentum'], strict=True):
        assert torch.equal(a, b)
    assert one['schedulers'] == two['schedulers']
    # What was trained on after the break; the rest came before it.
    count = len(two['trained'])
    assert one['trained'][-count:] == two['trained']


@pytest.mark.parametrize(('by_epoch', 'stops'), [(True, 1), (False, 3)])
@pytest.mark.parametrize('workers', [0, 2])
def test_resumed_equals_uninterrupted(
    make_runner, by_epoch: bool, stops: int, workers: int
) -> None:
    """With a search after the break, and with other workers than before."""
    made = dict(search=SEARCH[by_epoch], workers=workers)
    whole = make_runner(**made, **options(by_epoch))
    whole.train()
    expected = outcome(whole)
    name = f'{"epoch" if by_epoch else "iter"}_{stops}.pth'
    torch.manual_seed(123)
    for other_workers in (workers, 2 - workers):
        again = make_runner(
            **{**made, 'workers': other_workers},
            **options(by_epoch),
            load_from=str(Path(whole.work_dir) / name),
            resume=True,
        )
        again.train()
        assert 0 < len(again.model.trained) < len(whole.model.trained)
        assert_same(expected, outcome(again))


@pytest.mark.parametrize('by_epoch', [True, False])
def test_without_the_hook_a_resumed_training_differs(
    make_runner, by_epoch: bool
) -> None:
    """Or the tests above would pass for another reason."""
    off = options(by_epoch, hooks={'exact_resume': OFF})
    whole = make_runner(None, **off)
    whole.train()
    again = make_runner(
        None,
        **off,
        load_from=str(
            Path(whole.work_dir)
            / ('epoch_1.pth' if by_epoch else 'iter_3.pth')
        ),
        resume=True,
    )
    again.train()
    assert not torch.equal(
        whole.model.student.weight, again.model.student.weight
    )


@pytest.mark.parametrize('by_epoch', [True, False])
def test_the_order_of_the_data_is_mmengines_own(
    make_runner, by_epoch: bool
) -> None:
    numbers = []
    for hooks in ({}, {'exact_resume': OFF}):
        runner = make_runner(None, **options(by_epoch, hooks=hooks))
        runner.train()
        numbers.append([batch[::2] for batch in runner.model.trained])
    assert numbers[0] == numbers[1]


def test_a_finite_sampler_goes_on_under_an_iteration_loop(make_runner) -> None:
    def run(**more: Any) -> Any:
        loader = {
            'dataset': {'type': 'RandomSet'},
            'sampler': {'type': 'DefaultSampler', 'shuffle': True},
            'batch_size': 5,
        }
        runner = make_runner(
            None, **options(False), train_dataloader=loader, **more
        )
        runner.train()
        return runner

    whole = run()
    again = run(
        load_from=str(Path(whole.work_dir) / 'iter_6.pth'), resume=True
    )
    assert len(again.model.trained) == 2
    assert_same(outcome(whole), outcome(again))


def test_the_augmentations_generator_follows_the_step(make_runner) -> None:
    drawn = []
    for start in (0, 1):
        runner = make_runner(None, **options(True))
        runner.model.generator = torch.Generator().manual_seed(start)
        for hook in runner.hooks:
            if type(hook).__name__ == 'ExactResumeHook':
                hook._seed = 5
                hook.before_train_iter(runner, 0)
        drawn.append(torch.rand(1, generator=runner.model.generator).item())
    assert drawn[0] == drawn[1]


class Resizing(BaseDataPreprocessor):
    """Holds a size that it has drawn, as mmdet's batch augments do."""

    def __init__(self, size: tuple[int, int] | None = None) -> None:
        super().__init__()
        self._input_size = size
        self.table = {'not': 'plain'}


def test_what_a_preprocessor_keeps_is_restored(make_runner) -> None:
    whole = make_runner(None, **options(True))
    whole.model.data_preprocessor = Resizing((64, 96))
    whole.train()
    path = str(Path(whole.work_dir) / 'epoch_1.pth')
    for resume, expected in ((True, (64, 96)), (False, None)):
        again = make_runner(
            None, **options(True), load_from=path, resume=resume
        )
        again.model.data_preprocessor = Resizing()
        again.train()
        assert again.model.data_preprocessor._input_size == expected


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        (
            {'randomness': {'seed': None}},
            ('needs a seed', 'randomness = dict(seed=0)'),
        ),
        (
            {
                'hooks': {
                    'checkpoint': {
                        'type': 'CheckpointHook',
                        'by_epoch': False,
                        'interval': 3,
                    }
                }
            },
            ('within an epoch', 'checkpoint.by_epoch', 'by_epoch=True'),
        ),
        (
            {
                'optim_wrapper': {
                    'optimizer': {'type': 'SGD', 'lr': 0.1},
                    'accumulative_counts': 3,
                }
            },
            ('two optimizer steps', 'a divisor of 4', 'accumulative_counts'),
        ),
    ],
)
def test_what_cannot_be_exact_is_refused_with_the_cure(
    make_runner, changes: dict[str, Any], words: tuple[str, ...]
) -> None:
    given = options(True, hooks=changes.pop('hooks', {}))
    runner = make_runner(None, **{**given, **changes})
    with pytest.raises(ConfigError) as caught:
        runner.train()
    for word in (*words, 'exact_resume=dict(enabled=False)'):
        assert word in str(caught.value)


def test_mmengines_own_hook_is_told_of_no_files_to_remove(
    make_runner,
) -> None:
    """It would remove whatever a checkpoint names as its own."""
    whole = make_runner(None, **options(True))
    whole.train()
    work = Path(whole.work_dir)
    victim = work / 'notes.txt'
    victim.write_text('mine')
    content = torch.load(work / 'epoch_1.pth', weights_only=False)
    said = {'best_ckpt': str(victim), 'best_score': 0.5}
    said['keep_ckpt_ids'] = [1, 2, 3]
    content['message_hub']['runtime_info'].update(said)
    content['message_hub']['resumed_keys'].update(dict.fromkeys(said, True))
    torch.save(content, work / 'given.pth')
    hook = {'type': 'CheckpointHook', 'interval': 1, 'max_keep_ckpts': 1}
    hook |= {'save_best': 'score', 'rule': 'greater'}
    again = make_runner(
        None,
        **options(True, hooks={'checkpoint': hook}),
        load_from=str(work / 'given.pth'),
        resume=True,
    )
    again.train()
    saver = next(h for h in again.hooks if hasattr(h, 'save_best'))
    saver._save_best_checkpoint(again, {'score': 0.1})
    assert not list(work.glob('best_*.pth'))
    saver._save_best_checkpoint(again, {'score': 0.9})
    assert list(work.glob('best_*.pth'))
    assert victim.read_text() == 'mine'
    assert (work / 'epoch_1.pth').exists()
    log = max(work.glob('*/*.log'), key=lambda path: path.stat().st_mtime)
    assert 'best_ckpt, keep_ckpt_ids' in log.read_text()
