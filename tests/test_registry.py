"""The registries are found from every scope and import their own modules."""

import subprocess
import sys

import pytest
from mmengine.registry import Registry

from mmtst import registry


@pytest.mark.parametrize('name', ['MODELS', 'HOOKS', 'DATASETS', 'FUNCTIONS'])
def test_is_a_child_of_the_root_registry(name):
    ours = getattr(registry, name)
    assert isinstance(ours, Registry)
    assert ours.scope == 'mmtst'
    assert ours.parent.scope == 'mmengine'
    assert ours.parent.parent is None


@pytest.mark.parametrize('scope', ['mmengine', 'mmrazor'])
def test_first_look_up_imports_the_module(scope):
    """In a process of its own, where nothing is imported yet."""
    code = (
        'import mmtst\n'
        f'from {scope}.registry import MODELS\n'
        "print(MODELS.get('mmtst.TSTDistill').__name__)"
    )
    done = subprocess.run(
        [sys.executable, '-c', code],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout.strip() == 'TSTDistill', done.stderr
