"""What nests without end is an error, not the end of the process."""

import subprocess
import sys

import pytest

from mmtst.utils.recursion_limit import _Finder, keep_recursion_limit

CODE = """
import json, sys
import mmtst.models
import mmrazor.models.task_modules.tracer.fx_tracer
import mmrazor.structures.graph.channel_flow
print(sys.getrecursionlimit())
try:
    json.loads('[' * 200_000)
except RecursionError:
    print('an error')
"""


@pytest.mark.slow
def test_mmrazor_leaves_the_limit_alone():
    done = subprocess.run(
        [sys.executable, '-c', CODE],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split('\n')[-3:-1] == ['1000', 'an error']


def test_asking_twice_changes_nothing():
    keep_recursion_limit()
    before = list(sys.meta_path)
    keep_recursion_limit()
    assert sys.meta_path == before
    assert sum(isinstance(finder, _Finder) for finder in before) == 1
