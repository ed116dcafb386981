"""Test what the scripts for several processes start."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / 'tools'
MACHINES = ('NNODES', 'NODE_RANK', 'MASTER_ADDR', 'PORT')


@pytest.fixture
def start(tmp_path):
    """Return a function that runs a script; python only tells its words."""
    python = tmp_path / 'bin' / 'python'
    python.parent.mkdir()
    python.write_text('#!/bin/sh\necho "$PYTHONPATH"\nprintf "%s\\n" "$@"\n')
    python.chmod(0o755)

    def run(script, *arguments, **machines):
        kept = {k: v for k, v in os.environ.items() if k not in MACHINES}
        return subprocess.run(
            [TOOLS / script, *arguments],
            env={
                **kept,
                **machines,
                'PATH': f'{python.parent}:{os.environ["PATH"]}',
                'PYTHONPATH': '/before',
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.mark.parametrize(
    ('script', 'arguments', 'words'),
    [
        (
            'dist_train.sh',
            ('a.py', '2', '--work-dir', 'with a blank', '--amp'),
            ['train.py', 'a.py', '--launcher', 'pytorch', '--work-dir']
            + ['with a blank', '--amp'],
        ),
        (
            'dist_test.sh',
            ('a.py', 'b.pth', '2', '--tta'),
            ['test.py', 'a.py', 'b.pth', '--launcher', 'pytorch', '--tta'],
        ),
    ],
)
def test_the_arguments_reach_the_tool(start, script, arguments, words):
    done = start(script, *arguments)
    assert done.returncode == 0, done.stderr
    path, *said = done.stdout.splitlines()
    root, before = path.split(':')
    assert Path(root).samefile(TOOLS.parent)
    assert before == '/before'
    assert said == [
        '-m',
        'torch.distributed.run',
        '--nnodes=1',
        '--node_rank=0',
        '--master_addr=127.0.0.1',
        '--master_port=29500',
        '--nproc_per_node=2',
        f'{TOOLS}/{words[0]}',
        *words[1:],
    ]
    machines = dict(
        NNODES='3', NODE_RANK='1', MASTER_ADDR='first', PORT='12345'
    )
    done = start(script, *arguments, **machines)
    assert done.stdout.splitlines()[3:7] == [
        '--nnodes=3',
        '--node_rank=1',
        '--master_addr=first',
        '--master_port=12345',
    ]


@pytest.mark.parametrize(
    ('script', 'arguments'),
    [('dist_train.sh', ('a.py',)), ('dist_test.sh', ('a.py', 'b.pth'))],
)
def test_too_few_arguments_show_how(start, script, arguments):
    done = start(script, *arguments)
    assert done.returncode == 2
    assert not done.stdout
    assert f'{script} CONFIG' in done.stderr
