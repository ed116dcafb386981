"""Every room keeps to its place: imports, tests, docstrings, exports."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / 'mmtst'
MODULES = sorted(
    path.relative_to(ROOT)
    for path in PACKAGE.rglob('*.py')
    if '.mim' not in path.parts
)
NAMES = [str(path) for path in MODULES]
PACKAGES = [path for path in MODULES if path.name == '__init__.py']

# What a room may import, besides itself and the modules at the root.
# ``registry`` and ``version`` lie at the root and serve all but geometry.
ALLOWED = {
    'utils': set(),
    'structures': {'utils'},
    'geometry': {'utils'},
    'augmentation': {'utils', 'structures', 'geometry'},
    'datasets': {'utils', 'structures', 'geometry', 'augmentation'},
    'visualization': {'utils', 'geometry', 'augmentation'},
    'models': {'utils', 'structures', 'geometry', 'augmentation'},
    'engine': {
        'utils',
        'structures',
        'geometry',
        'augmentation',
        'datasets',
        'models',
    },
    'testing': {
        'utils',
        'structures',
        'geometry',
        'augmentation',
        'datasets',
        'models',
        'engine',
    },
}
# ``testing`` is what tests are made of.
NO_TEST = ('mmtst/version.py', 'mmtst/testing/')


def parse(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(), filename=str(path))


def list_imports(tree: ast.Module, path: Path) -> set[str]:
    """Name every module that a file imports, at its head or anywhere."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parent = path.parts[: -node.level] if node.level else ()
            module = '.'.join([*parent, *filter(None, [node.module])])
            names.add(module)
            names |= {f'{module}.{alias.name}' for alias in node.names}
    return names


def list_rooms(names: set[str]) -> set[str]:
    parts = (name.split('.') for name in names)
    rooms = {p[1] for p in parts if p[0] == 'mmtst' and len(p) > 1}
    return rooms & set(ALLOWED)


def test_every_room_has_its_place_in_the_order() -> None:
    rooms = {path.parts[1] for path in MODULES if len(path.parts) > 2}
    assert rooms <= set(ALLOWED)


@pytest.mark.parametrize('path', MODULES, ids=NAMES)
def test_imports_follow_the_order_of_rooms(path: Path) -> None:
    if len(path.parts) == 2:
        allowed = {'utils'}
    else:
        allowed = ALLOWED[path.parts[1]] | {path.parts[1]}
    assert list_rooms(list_imports(parse(path), path)) <= allowed


def test_no_spelling_of_an_import_goes_unseen() -> None:
    source = (
        'import mmtst.engine.z\n'
        'from mmtst import visualization\n'
        'from ..models import x\n'
        'from . import y\n'
        'def late():\n'
        '    from mmtst.datasets.shapes import w\n'
    )
    path = Path('mmtst/geometry/probe.py')
    seen = list_rooms(list_imports(ast.parse(source), path))
    assert seen == {
        'engine',
        'visualization',
        'models',
        'geometry',
        'datasets',
    }


@pytest.mark.parametrize(
    'path', [p for p in MODULES if p.parts[1] == 'geometry'], ids=str
)
def test_geometry_has_no_classes_and_needs_no_openmmlab(path: Path) -> None:
    classes = [n for n in ast.walk(parse(path)) if isinstance(n, ast.ClassDef)]
    assert not classes
    roots = {name.split('.')[0] for name in list_imports(parse(path), path)}
    assert not {root for root in roots if root.startswith('mm')} - {'mmtst'}
    assert 'mmtst.registry' not in list_imports(parse(path), path)


@pytest.mark.parametrize('path', MODULES, ids=NAMES)
def test_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(parse(path))


@pytest.mark.parametrize('path', MODULES, ids=NAMES)
def test_errors_are_raised_not_asserted(path: Path) -> None:
    """``python -O`` drops assertions."""
    lines = [n.lineno for n in ast.walk(parse(path)) if type(n) is ast.Assert]
    assert not lines


@pytest.mark.parametrize('path', PACKAGES, ids=str)
def test_package_exports_what_it_names(path: Path) -> None:
    module = importlib.import_module('.'.join(path.parent.parts))
    exported = module.__all__
    assert len(set(exported)) == len(exported)
    for name in exported:
        assert hasattr(module, name)


@pytest.mark.parametrize(
    'path', [p for p in MODULES if p not in PACKAGES], ids=str
)
def test_module_has_its_test_file(path: Path) -> None:
    if str(path).startswith(NO_TEST):
        return
    folders = [f'test_{folder}' for folder in path.parts[1:-1]]
    mirrored = Path('tests', *folders, f'test_{path.name}')
    assert (ROOT / mirrored).exists()


# What these test does not lie in the package.
OTHER_ROOMS = ('drills', 'test_benchmarks', 'test_scripts', 'test_tools')


def test_every_test_file_has_its_module() -> None:
    """Below a room's folder; tests of the whole lie at the top."""
    orphans = []
    for path in sorted((ROOT / 'tests').rglob('test_*.py')):
        parts = path.relative_to(ROOT / 'tests').parts
        if len(parts) == 1 or parts[0] in OTHER_ROOMS:
            continue
        mirrored = Path(*(part.removeprefix('test_') for part in parts))
        if not (PACKAGE / mirrored).exists():
            orphans.append(str(path.relative_to(ROOT)))
    assert not orphans


@pytest.mark.parametrize(
    'path', sorted((ROOT / 'tools').glob('[!_]*.py')), ids=lambda p: p.name
)
def test_tool_has_its_test_file(path: Path) -> None:
    assert (ROOT / 'tests' / 'test_tools' / f'test_{path.name}').exists()
