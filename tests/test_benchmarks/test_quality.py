"""A matrix is run whole, in pieces, and after being killed; lines stay."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from mmtst.testing.cifar import write_cifar100

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / 'benchmarks' / 'quality.py'
PAIR = 'resnet56_resnet20_1xb128-240e_cifar100'
CLASSES = 4


@pytest.fixture(scope='module')
def matrix(tmp_path_factory):
    """Write a matrix of two arms, of seconds each."""
    root = tmp_path_factory.mktemp('matrix')
    data = write_cifar100(root / 'data', num_classes=CLASSES, per_class=8)
    options = {
        'train_cfg.max_epochs': 2,
        'train_cfg.val_interval': 2,
        'param_scheduler.0.milestones': [1],
        'train_dataloader.batch_size': 8,
        'default_hooks.checkpoint.interval': 1,
        'default_hooks.teacher_check.enabled': False,
        'val_evaluator.topk': (1,),
    }
    for loader in ('train', 'val', 'test'):
        options[f'{loader}_dataloader.dataset.data_root'] = str(data)
    file = root / 'matrix.yml'
    pair = {}
    for side in ('architecture', 'teacher'):
        pair[f'model.{side}.head.num_classes'] = CLASSES
        pair[f'model.{side}.backbone.depth'] = 8
    content = dict(
        name='tiny',
        seeds=[0],
        options=options,
        alone={'model.head.num_classes': CLASSES, 'model.backbone.depth': 8},
        pair=pair,
        teacher=dict(
            config='configs/classifiers/resnet56_1xb128-240e_cifar100.py'
        ),
        arms={
            'student alone': dict(
                config='configs/classifiers/resnet20_1xb128-240e_cifar100.py',
                teacher=False,
            ),
            'KD': dict(config=f'configs/kd/mmpretrain/kd_logits_{PAIR}.py'),
        },
    )
    file.write_text(yaml.safe_dump(json.loads(json.dumps(content))))
    return file


def start(matrix, folder, *arguments):
    """Start the script on copies of its own results folder."""
    code = (
        'import sys; from pathlib import Path; '
        f'sys.path.insert(0, {str(SCRIPT.parent)!r}); import quality; '
        f'quality.Study.__init__.__defaults__ = (Path({str(folder)!r}),); '
        'quality.main()'
    )
    return subprocess.Popen(
        [sys.executable, '-c', code, str(matrix), '--jobs', '2']
        + ['--work-dir', str(folder / 'work'), *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
        start_new_session=True,
    )


def finish(process, expected=0):
    output, _ = process.communicate(timeout=400)
    assert process.returncode == expected, output
    return output


def outcome(folder):
    """Return what a study has found, without when and how long."""
    lines = [
        json.loads(line)
        for line in (folder / 'tiny.jsonl').read_text().splitlines()
    ]
    keys = [(line['name'], line['seed']) for line in lines]
    assert len(set(keys)) == len(keys)
    return {
        key: (line['top1'], line['curve'])
        for key, line in zip(keys, lines, strict=True)
    }


def test_whole_in_pieces_and_killed_are_the_same(matrix, tmp_path):
    whole = tmp_path / 'whole'
    output = finish(start(matrix, whole))
    expected = outcome(whole)
    assert set(expected) == {
        ('teacher', 0),
        ('student alone', 0),
        ('KD', 0),
    }
    assert '| KD | 1 |' in output
    # All is there: nothing is trained again.
    before = (whole / 'tiny.jsonl').read_bytes()
    assert 'starts' not in finish(start(matrix, whole))
    assert (whole / 'tiny.jsonl').read_bytes() == before

    pieces = tmp_path / 'pieces'
    output = finish(start(matrix, pieces, '--budget-seconds', '6'), 75)
    assert 'left    KD, seed 0' in output
    killed = start(matrix, pieces)
    time.sleep(10)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    lines = pieces / 'tiny.jsonl'
    if lines.exists():  # as if it had been killed while it wrote
        lines.write_text(lines.read_text() + '{"name": "KD", "se')
    finish(start(matrix, pieces))
    assert outcome(pieces) == expected


def test_a_training_that_fails_is_named(matrix, tmp_path):
    process = start(matrix, tmp_path, '--set', 'optim_wrapper.optimizer.lr=-1')
    output = finish(process, 1)
    assert 'failed' in output
    assert 'left    teacher, seed 0' in output
    assert 'starts  KD' not in output
