"""Every argument of every tool is refused in one line where wrong.

The table is complete: a tool or an argument that it does not have fails.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.runner import Runner

from mmtst.utils.errors import ConfigError

TOOLS = sorted(
    path.stem
    for path in Path(__file__).parents[2].joinpath('tools').glob('[!_]*.py')
)
# What stands in the folder of a trial: {plain} and {distill} are configs.
FILES: dict[str, bytes | None] = {
    'file': b'mine',
    'folder': None,
    'folder.pth': None,
    'folder.pkl': None,
    'folder.py': None,
    'empty.py': b'',
    'text.py': b'model = dict(',
    'bytes.py': bytes(range(256)),
    'raises.py': b'raise ValueError("no")',
    'exits.py': b'import sys\nsys.exit(0)',
    'loop.py': b"_base_ = './loop.py'",
    'orphan.py': b"_base_ = './gone.py'",
    'imports.py': b"custom_imports = dict(imports=['nothing_there'])",
    'imports2.py': b"custom_imports = ['nothing_there']",
    'imports3.py': b'custom_imports = dict(imports=[1])',
    'cut.json': b'{"model": ',
    'list.yaml': b'- 1\n- 2\n',
    'no_model.py': b'x = 1',
    'model_text.py': b"model = 'retinanet'",
    'model_type.py': b'model = dict(x=1)',
    'bytes.pth': bytes(range(256)),
    'bytes.jsonl': bytes(range(256)),
    'page.md': b'text\n',
}
UNREADABLE = [
    '', 'gone.py', 'folder', 'folder.py', 'file', 'text.py', 'bytes.py',
    'raises.py', 'exits.py', 'loop.py', 'orphan.py', 'imports.py',
    'imports2.py', 'imports3.py', 'cut.json', 'list.yaml', 'a\0b',
]  # fmt: skip
NO_MODEL = ['no_model.py', 'model_text.py', 'model_type.py', 'empty.py']
CONFIG = UNREADABLE + NO_MODEL
COUNT = ['0', '-1', '1.5', 'x', '', '9' * 30, 'nan']
SEED = ['-1', '0.5', 'x', '', '9' * 30]
SHARE = ['-0.1', '1.1', 'nan', 'inf', 'x', '']
OUT_FOLDER = ['', 'file', 'file/below', 'a\0b', 'x' * 300 + '/' + 'y' * 5000]
OPTIONS = [
    'model', '=', 'x.=1', '=1', 'model.type.x.y=1',
    'custom_hooks.99.type=x', 'custom_hooks.x.type=y',
]  # fmt: skip
OF_CONFIG = {
    'config': CONFIG,
    'cfg_options': OPTIONS,
    'data_root': ['', 'gone', 'file', 'a\0b'],
}
OF_LAUNCH = {
    'work_dir': OUT_FOLDER,
    'launcher': ['', 'x', 'pytorch', 'mpi'],
    'local_rank': ['x', ''],
}
# A switch takes no value.
SWITCH = ['=x']
WEIGHTS = ['', 'gone.pth', 'folder', 'bytes.pth', 'a\0b']
OUT_FILE = ['', 'folder', 'file/below', 'a\0b']
TABLE: dict[str, dict[str, list[str]]] = {
    'train': OF_CONFIG | OF_LAUNCH | {
        'trust_checkpoint': SWITCH,
        'amp': SWITCH,
        'auto_scale_lr': SWITCH,
        'resume': ['', 'gone.pth', 'folder', 'a\0b'],
        'check_data': SWITCH,
    },
    # Data can be looked at without a model.
    'check_data': OF_CONFIG | {
        'config': UNREADABLE,
        'subsets': ['', 'x'],
        'all': SWITCH,
        'fix': OUT_FOLDER,
    },
    'test': OF_CONFIG | OF_LAUNCH | {
        'trust_checkpoint': SWITCH,
        'checkpoint': WEIGHTS,
        'teacher': SWITCH,
        'out': [*OUT_FILE, 'a.txt', 'folder.pkl', 'file/below.pkl'],
        'show': SWITCH,
        'show_dir': OUT_FOLDER,
        'wait_time': ['-1', 'nan', 'x', ''],
        'tta': SWITCH,
    },
    'browse_augmentation': OF_CONFIG | {
        'trust_checkpoint': SWITCH,
        'num': COUNT,
        'output_dir': OUT_FOLDER,
        'policy': ['', 'gone.json', 'bytes.jsonl', 'file'],
        'checkpoint': WEIGHTS,
        'probability': SHARE,
        'strength': SHARE,
        'operators': ['', 'melt'],
        'seed': SEED,
    },
    'fit_prior': {
        'network': ['', 'x'],
        'images': ['', 'gone', 'file', 'folder', 'folder:0', 'folder:x'],
        'judge': ['', 'x', 'x=', 'x=gone', 'x=folder:0'],
        'num': COUNT,
        'num_judge': COUNT,
        'side': [*COUNT, '1'],
        'binned': SWITCH,
        'seed': SEED,
        'out': [*OUT_FILE, 'a.txt', 'folder.pth', 'file/below.pth'],
        'docs': ['', 'gone.md', 'folder'],
    },
    'export_student': OF_CONFIG | {
        'trust_checkpoint': SWITCH,
        'checkpoint': WEIGHTS,
        'out': [
            *OUT_FILE, 'a.txt', 'folder.pth', 'file/below.pth', '{distill}',
        ],
    },
    'plot_policy': {
        'files': ['', 'gone', 'folder', 'bytes.jsonl', 'file'],
        'labels': ['two labels'],
        'operators': ['', 'melt'],
        'out_dir': OUT_FOLDER,
    },
    # A config without a model is one too.
    'print_config': OF_CONFIG | {
        'config': UNREADABLE,
        'resolve': SWITCH,
        'save_path': [*OUT_FILE, 'a.txt', 'folder.py', '{distill}'],
    },
    'list_ablations': {'table': ['', '0', '-1', '99', 'x']},
    'make_digits': {'out': OUT_FOLDER, 'seed': SEED},
    'make_shapes': {
        'out': OUT_FOLDER,
        'num_train': COUNT,
        'num_val': COUNT,
        'size': [*COUNT, '1', '31'],
        'seed': SEED,
        'layout': ['', 'voc'],
    },
    'demo': {
        'task': ['', 'nlp'],
        'work_dir': OUT_FOLDER,
        'num_train': COUNT,
        'num_val': COUNT,
        'size': [*COUNT, '31'],
        'seed': SEED,
        'jobs': ['0', '-1', '3', 'x', ''],
        'threads': COUNT,
        'cfg_options': OPTIONS[:4],
        'tst_options': OPTIONS[:4],
    },
}  # fmt: skip
DISTILL = """
student = dict(cfg_path='mmdet::retinanet/retinanet_r18_fpn_1x_coco.py')
model = dict(
    type='mmtst.TSTDistill',
    architecture=student,
    teacher=student,
    distiller=dict(type='mmtst.DataAugmentationDistiller'))
train_dataloader = dict(
    batch_size=1, dataset=dict(type='CocoDataset', data_root='nowhere'))
test_dataloader = train_dataloader
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1)
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))
custom_hooks = [dict(type='mmtst.PolicySearchHook', at=[0])]
"""
# The rest of a command, by the destination of each argument.
GIVEN: dict[str, dict[str, str]] = {
    'train': {'config': '{distill}'},
    'test': {'config': '{distill}', 'checkpoint': '{teacher}'},
    'browse_augmentation': {'config': '{distill}'},
    'check_data': {'config': '{distill}'},
    'fit_prior': {'num': '2', 'num_judge': '2', 'out': 'p.pth'},
    'export_student': {
        'config': '{distill}', 'checkpoint': '{teacher}', 'out': 'o.pth',
    },
    'plot_policy': {'files': '{log}'},
    'print_config': {'config': '{distill}'},
    'make_digits': {'out': 'o'},
    'make_shapes': {'out': 'o'},
}  # fmt: skip


class Captured(Exception):
    """Carry the parser of a tool out of it."""


def parser_of(tool: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    def capture(self: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        raise Captured(self)

    with monkeypatch.context() as patched:
        patched.setattr(argparse.ArgumentParser, 'parse_known_args', capture)
        with pytest.raises(Captured) as caught:
            getattr(tool, 'parse_args', tool.main)([])
    return caught.value.args[0]


def actions_of(parser: Any) -> dict[str, argparse.Action]:
    return {a.dest: a for a in parser._actions if a.dest != 'help'}


def test_the_table_has_every_tool():
    assert sorted(TABLE) == TOOLS


def begin(*_, **__):
    raise RuntimeError('it has begun')


@pytest.mark.parametrize('name', TABLE)
def test_the_table_has_every_argument(name, load_tool, monkeypatch):
    parser = parser_of(load_tool(name), monkeypatch)
    assert sorted(actions_of(parser)) == sorted(TABLE[name])


@pytest.fixture(scope='session')
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp('given')
    (folder / 'policy.jsonl').write_text('')
    (folder / 'distill.py').write_text(DISTILL)
    weights = {'state_dict': {'weight': torch.zeros(1)}}
    torch.save(weights, folder / 'teacher.pth')
    return {
        'distill': str(folder / 'distill.py'),
        'teacher': str(folder / 'teacher.pth'),
        'log': str(folder / 'policy.jsonl'),
    }


def command_of(
    actions: dict[str, argparse.Action], values: dict[str, str]
) -> list[str]:
    positional, named = [], []
    for dest, value in values.items():
        action = actions[dest]
        if not action.option_strings:
            positional.append((list(actions).index(dest), value))
        elif action.nargs == 0:
            named.append(action.option_strings[0] + value)
        else:
            named += [action.option_strings[0], value]
    return [*(value for _, value in sorted(positional)), *named]


def state_of(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): None
        if path.is_dir()
        else path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if '__pycache__' not in path.parts
    }


def attempt(tool: Any, command: list[str], capsys: Any) -> str | None:
    """Say what became of a command, or nothing where it was refused well."""
    try:
        tool.main(command)
    except ConfigError as error:
        return None if len(str(error)) < 3000 else 'too long'
    except SystemExit as error:
        said = capsys.readouterr().err + str(error.code)
        if error.code == 0 or 'Traceback' in said:
            return f'ended with {error.code}'
        return None
    except Exception as error:
        return f'{type(error).__name__}: {error}'
    return 'silence'


@pytest.mark.parametrize(
    ('name', 'dest'),
    [(n, dest) for n, table in TABLE.items() for dest in table],
)
def test_what_is_wrong_is_refused(
    name, dest, load_tool, monkeypatch, capsys, tmp_path, paths
):
    tool = load_tool(name)
    actions = actions_of(parser_of(tool, monkeypatch))
    # What is not refused must not begin, either.
    for owner, attribute in ((subprocess, 'Popen'), (Runner, 'from_cfg')):
        monkeypatch.setattr(owner, attribute, begin)
    monkeypatch.setattr(sys, 'argv', [f'{name}.py'])
    monkeypatch.chdir(tmp_path)
    for file, content in FILES.items():
        if content is None:
            Path(file).mkdir()
        else:
            Path(file).write_bytes(content)
    before = state_of(tmp_path)
    config = Path(paths['distill']).read_bytes()
    faults = []
    for bad in TABLE[name][dest]:
        values = GIVEN.get(name, {}) | {dest: bad}
        # Another way to say the same.
        values.pop('policy' if dest == 'checkpoint' else '', None)
        command = command_of(
            actions, {k: v.format(**paths) for k, v in values.items()}
        )
        said = attempt(tool, command, capsys)
        if said:
            faults.append(f'{dest} {bad[:40]!r}: {said[:300]}')
        if state_of(tmp_path) != before:
            faults.append(f'{dest} {bad[:40]!r}: files changed')
            before = state_of(tmp_path)
    assert not faults, '\n'.join(faults)
    assert Path(paths['distill']).read_bytes() == config
