"""Run tiny matrices by ``benchmarks/quality.py``, and kill them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from mmtst.testing.cifar import write_cifar100

ROOT = Path(__file__).resolve().parents[2]
PAIR = 'resnet56_resnet20_1xb128-240e_cifar100'
CLASSES = 4
ARMS = {
    'student alone': {'config': 'alone', 'teacher': False},
    'unsearched': {
        'config': 'tst',
        'options': {
            'custom_hooks.0.at': [],
            'default_hooks.checkpoint.max_keep_ckpts': -1,
        },
    },
    'TST': {'config': 'tst', 'from': 'unsearched'},
    'replayed': {
        'config': 'tst',
        'options': {
            'custom_hooks.0.at': [],
            'model.policy': 'replay:{TST}/policy.jsonl',
        },
    },
}


def write_matrix(folder: Path) -> Path:
    """Write a matrix of cells of seconds each, and its data.

    One of the arms searches, and goes on from another after its first epoch.
    """
    data = write_cifar100(folder / 'data', num_classes=CLASSES, per_class=8)
    options: dict[str, Any] = {
        'train_cfg.max_epochs': 3,
        'train_cfg.val_interval': 2,
        'param_scheduler.0.milestones': [1],
        'train_dataloader.batch_size': 8,
        'default_hooks.checkpoint.interval': 1,
        'default_hooks.teacher_check.enabled': False,
        'val_evaluator.topk': [1],
    }
    for loader in ('train', 'val', 'test'):
        options[f'{loader}_dataloader.dataset.data_root'] = str(data)
    pair: dict[str, Any] = {}
    for side in ('architecture', 'teacher'):
        pair[f'model.{side}.head.num_classes'] = CLASSES
        pair[f'model.{side}.backbone.depth'] = 8
    content = {
        'name': 'tiny',
        'seeds': [0],
        'baseline': 'unsearched',
        'fork': 1,
        'options': options,
        'configs': {
            'alone': {
                'file': 'configs/classifiers/resnet20_1xb128-240e_cifar100.py',
                'options': {
                    'model.head.num_classes': CLASSES,
                    'model.backbone.depth': 8,
                },
            },
            'tst': {
                'file': f'configs/tst/mmpretrain/tst_logits_{PAIR}.py',
                'options': {
                    **pair,
                    'custom_hooks.0.at': [1],
                    'custom_hooks.0.report_batches': 1,
                },
            },
        },
        'teacher': {'config': 'alone'},
        'arms': ARMS,
    }
    file = folder / 'matrix.yml'
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return file


def start(
    matrix: Path, folder: Path, *arguments: str
) -> subprocess.Popen[str]:
    """Start the script, with work dirs and lines in a folder."""
    return subprocess.Popen(
        [
            sys.executable,
            str(ROOT / 'benchmarks' / 'quality.py'),
            str(matrix),
            '--jobs=2',
            f'--work-dir={folder / "work"}',
            f'--results={folder}',
            *arguments,
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str], expected: int = 0) -> str:
    """Return what it prints, after it has ended as expected.

    Raises:
        RuntimeError: It has ended otherwise.
    """
    output, _ = process.communicate(timeout=900)
    if process.returncode != expected:
        raise RuntimeError(f'ended with {process.returncode}:\n{output}')
    return output


def kill(process: subprocess.Popen[str], trainings_too: bool) -> None:
    """Kill the script, and what it runs, or that script alone."""
    if trainings_too:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def outcome(folder: Path) -> dict[str, Any]:
    """Return what a study has found by arm, without when and how long.

    Raises:
        RuntimeError: An arm has two lines.
    """
    text = (folder / 'tiny.jsonl').read_text()
    found: dict[str, Any] = {}
    for line in map(json.loads, text.splitlines()):
        if line['name'] in found:
            raise RuntimeError(f'two lines of {line["name"]}')
        found[line['name']] = (line['top1'], line['curve'], line['options'])
    return found
