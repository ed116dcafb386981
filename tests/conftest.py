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


class Call:
    """Be pickled as a call; what is called need not be importable here."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.reduced


def _run_by_getattr(proof: str) -> list[object]:
    """Reach ``open`` with nothing but ``getattr`` and what torch allows.

    torch's own ``_rebuild_from_type_v2`` calls whatever it is given, so one
    free ``getattr`` is enough.
    """
    from mmengine.logging import HistoryBuffer

    call = torch._tensor._rebuild_from_type_v2
    start = Call(getattr, HistoryBuffer, 'update')
    look_up = Call(getattr, Call(getattr, start, '__builtins__'), 'get')
    kind = Call(getattr, look_up, '__class__')
    function = Call(call, look_up, kind, ('open',), None)
    return [Call(call, function, kind, (proof, 'w'), None)]


@pytest.fixture
def write_hostile(tmp_path):
    """Return a function that writes a checkpoint that would run code.

    It takes the path to write, one of ``'call'``, ``'getattr'`` and
    ``'config'`` (which runs when mmengine resumes), whether to write torch's
    old format, and what the file holds besides; it returns the path of what
    exists once the code has run.
    """

    def write(path, kind='call', legacy=False, **content):
        proof = tmp_path / f'executed-{path.stem}-{kind}'
        meta = content.setdefault('meta', {})
        content.setdefault('state_dict', {})
        if kind == 'call':
            meta['extra'] = Call(os.mkdir, str(proof))
        elif kind == 'getattr':
            meta['extra'] = _run_by_getattr(str(proof))
        else:
            meta['config'] = f'open({str(proof)!r}, "w").close()'
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
        return proof

    return write


@pytest.fixture
def checkpoints_as_before() -> Iterator[None]:
    """Undo what a test trusts and installs, mmengine's loaders included."""
    from mmengine.runner import CheckpointLoader

    from mmtst.utils.safe_reading import trust_checkpoints

    known = dict(CheckpointLoader._schemes)
    yield
    trust_checkpoints(False)
    CheckpointLoader._schemes.clear()
    CheckpointLoader._schemes.update(known)
