"""Every ablation is an override of a config that takes it."""

from __future__ import annotations

import copy
import shlex
from functools import cache
from pathlib import Path

import pytest
from mmengine.config import Config, DictAction

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def tool(load_tool):
    return load_tool('list_ablations')


@cache
def read(path):
    return Config.fromfile(ROOT / path)


def test_rows_are_those_of_the_paper(tool):
    rows = {}
    for ablation in tool.expand():
        rows.setdefault(ablation.table, []).append(ablation)
    # Pairs times rows; Table 9 has three methods.
    assert {t: len(r) for t, r in rows.items()} == {
        5: 2 * 3 * 2,
        6: 2 * 4,
        8: 2 * 10,
        9: 3 * 3,
    }
    for ablation in rows[8]:
        options = ablation.options
        if 'model.objective.alpha' in options:
            weights = [
                options[f'model.objective.{n}'] for n in ('alpha', 'beta')
            ]
        else:
            weights = [
                options['model.architecture.head.loss.loss_weight'],
                options['model.distiller.distill_losses.loss_kl.loss_weight'],
            ]
            undone = weights[0] * options['model.objective.weights.S_cls']
            assert undone == pytest.approx(1)
        assert sum(weights) == pytest.approx(2)


def test_commands_override_what_is_there(tool, capsys):
    tool.main([])
    commands = capsys.readouterr().out.splitlines()
    ablations = list(tool.expand())
    assert len(commands) == len(ablations)
    folders = set()
    for command, ablation in zip(commands, ablations, strict=True):
        words = shlex.split(command)
        folders.add(words[words.index('--work-dir') + 1])
        cfg = copy.deepcopy(read(ablation.config))
        before = copy.deepcopy(cfg.to_dict())
        given = words[words.index('--cfg-options') + 1 :]
        parsed = dict(word.split('=', 1) for word in given)
        cfg.merge_from_dict(
            {k: DictAction._parse_iterable(v) for k, v in parsed.items()}
        )
        for key, value in ablation.options.items():
            assert find(cfg.to_dict(), key) == value
            # Weights of the objective are 1 where none are given.
            if 'weights' not in key and key.split('.')[-1] != 'fraction':
                find(before, key)
    assert len(folders) == len(ablations)


def find(cfg, path):
    for word in path.split('.'):
        cfg = cfg[int(word)] if word.isdigit() else cfg[word]
    return cfg


def test_one_table_alone(tool, capsys):
    tool.main(['--table', '6'])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8
    assert all('/table6/' in line for line in lines)
