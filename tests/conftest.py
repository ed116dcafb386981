"""Make every test run the same, alone, in parallel and on any machine."""

import os
import sys
from collections.abc import Iterator

# Before torch, numpy and matplotlib are imported.
os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('MKL_NUM_THREADS', '1')
os.environ.setdefault('MPLBACKEND', 'Agg')

import pytest
import torch
from hypothesis import settings

# Examples are a function of the test, not of the day; a slow machine is no
# failure; nothing is written beside the tests.
settings.register_profile(
    'mmtst', derandomize=True, deadline=None, database=None
)
settings.load_profile('mmtst')


def pytest_configure() -> None:
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked ``gpu`` where there is no CUDA device."""
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason='needs a CUDA device')
    for item in items:
        if item.get_closest_marker('gpu'):
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def _default_scope_of_its_own() -> Iterator[None]:
    """Forget the default registry scope that a test left behind.

    mmengine keeps the scope of the last runner or model for the whole
    process; the next test would look its names up there.
    """
    known = dict(_read_scopes())
    yield
    scopes = _read_scopes()
    scopes.clear()
    scopes.update(known)


def _read_scopes() -> dict[str, object]:
    """Give mmengine's own table, without importing it for its sake."""
    module = sys.modules.get('mmengine.registry.default_scope')
    return {} if module is None else module.DefaultScope._instance_dict
