"""The wheel works outside the checkout; the pins agree with each other."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from mmtst.version import __version__

ROOT = Path(__file__).parents[1]
REQUIREMENTS = ROOT / 'requirements'
BUILT_FROM = [
    'mmtst',
    'configs',
    'tools',
    'requirements',
    'model-index.yml',
    'setup.py',
    'pyproject.toml',
    'MANIFEST.in',
    'README.md',
    'LICENSE',
]


def list_files(folder, pattern='*'):
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob(pattern)
        if path.is_file() and '__pycache__' not in path.parts
    }


def copy_sources(target):
    """Copy the checkout, so that building leaves nothing in it."""
    target.mkdir()
    skip = shutil.ignore_patterns('__pycache__', '.mim')
    for name in BUILT_FROM:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=skip)
        elif source.exists():
            shutil.copy(source, target / name)
    return target


def run(*command, cwd, **env):
    done = subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env={'PATH': '/usr/bin:/bin', **env},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build_wheel(source, target):
    run(
        *('-m', 'pip', 'wheel', '--no-deps', '--no-build-isolation'),
        *('--no-cache-dir', '-w', str(target), '.'),
        cwd=source,
    )
    (wheel,) = target.glob('*.whl')
    return wheel


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    """Build the wheel and unpack it: what a user has on the path."""
    folder = tmp_path_factory.mktemp('wheel')
    wheel = build_wheel(copy_sources(folder / 'source'), folder / 'dist')
    assert wheel.name == f'mmtst-{__version__}-py3-none-any.whl'
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / 'site')
    return folder / 'site'


def test_wheel_holds_every_module_and_nothing_else_of_python(installed):
    wanted = {
        f'mmtst/{name}'
        for name in list_files(ROOT / 'mmtst', '*.py')
        if not name.startswith('.mim/')
    }
    mim = {f'mmtst/.mim/{top}/' for top in ('configs', 'tools')}
    found = {
        name
        for name in list_files(installed, '*.py')
        if not name.startswith(tuple(mim))
    }
    assert found == wanted
    assert (installed / 'mmtst' / 'py.typed').exists()


def test_wheel_holds_the_priors(installed):
    priors = 'mmtst/augmentation/priors'
    wanted = list_files(ROOT / priors)
    assert list_files(installed / priors) == wanted
    assert {name for name in wanted if name.endswith('.pth')}


@pytest.mark.parametrize('top', ['configs', 'tools'])
def test_wheel_holds_configs_and_tools_where_mim_looks(installed, top):
    wanted = list_files(ROOT / top)
    assert wanted
    assert list_files(installed / 'mmtst' / '.mim' / top) == wanted


def test_wheel_holds_the_index_of_models(installed):
    index = ROOT / 'model-index.yml'
    assert (
        installed / 'mmtst' / '.mim' / index.name
    ).read_text() == index.read_text()


def test_wheel_states_versions_and_ranges(installed):
    info = installed / f'mmtst-{__version__}.dist-info' / 'METADATA'
    text = info.read_text()
    assert re.search(r'^Version: ' + re.escape(__version__), text, re.M)
    (python,) = re.findall(r'^Requires-Python: (.*)', text, re.M)
    assert SpecifierSet(python) == SpecifierSet('>=3.10,<3.13')
    stated = {
        Requirement(line).name
        for line in re.findall(r'^Requires-Dist: (.*)', text, re.M)
    }
    assert {'torch', 'mmcv', 'mmdet', 'mmrazor', 'mmengine'} <= stated


@pytest.mark.slow
def test_wheel_works_in_another_folder(installed, tmp_path):
    code = (
        'import mmtst\n'
        'from pathlib import Path\n'
        'from mmengine.config import Config\n'
        'from mmtst.registry import MODELS\n'
        'home = Path(mmtst.__file__).parent\n'
        'configs = home / ".mim" / "configs"\n'
        'count = 0\n'
        'for path in sorted(configs.rglob("*.py")):\n'
        '    Config.fromfile(path, import_custom_modules=False)\n'
        '    count += 1\n'
        'MODELS.build(dict(type="mmtst.AugmentationEncoder"))\n'
        'print(count, home)\n'
    )
    out = run('-c', code, cwd=tmp_path, PYTHONPATH=str(installed))
    count, home = out.split()[-2:]
    assert int(count) == len(list_files(ROOT / 'configs', '*.py'))
    assert Path(home) == installed / 'mmtst'


@pytest.mark.slow
def test_tool_of_the_wheel_starts_in_another_folder(installed, tmp_path):
    tool = installed / 'mmtst' / '.mim' / 'tools' / 'train.py'
    out = run(str(tool), '--help', cwd=tmp_path, PYTHONPATH=str(installed))
    assert '--cfg-options' in out


def test_editable_install_links_configs_and_tools(tmp_path):
    source = copy_sources(tmp_path / 'source')
    code = (
        'from setuptools import build_meta\n'
        f'build_meta.build_editable({str(tmp_path)!r})'
    )
    for _ in range(2):  # again over the links of the first time
        run('-c', code, cwd=source)
    mim = source / 'mmtst' / '.mim'
    for top in ('configs', 'tools'):
        assert (mim / top).is_symlink()
        assert (mim / top).resolve() == source / top
        assert not Path(mim / top).readlink().is_absolute()


def test_wheel_after_an_editable_install_and_a_removed_module(tmp_path):
    """Neither links nor modules of an earlier build go into a wheel."""
    source = copy_sources(tmp_path / 'source')
    extra = source / 'mmtst' / 'gone.py'
    extra.write_text('"""Be removed."""\n')
    build_wheel(source, tmp_path / 'first')
    extra.unlink()
    code = 'from setuptools import build_meta as b; b.build_editable("..")'
    run('-c', code, cwd=source)
    wheel = build_wheel(source, tmp_path / 'second')
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert 'mmtst/gone.py' not in names
    assert len(names) == len(set(names))
    in_mim = {name for name in names if name.startswith('mmtst/.mim/tools/')}
    assert len(in_mim) == len(list_files(ROOT / 'tools'))


def read_pins(path):
    found = {}
    for line in path.read_text().splitlines():
        match = re.match(r'([\w.-]+)==([^\s;]+)', line)
        if match:
            found[match[1].lower().replace('_', '-')] = match[2]
    return found


FILES = [
    path for path in REQUIREMENTS.glob('*.txt') if path.name != 'runtime.txt'
]


def test_every_distribution_is_pinned_once():
    names = [name for path in FILES for name in read_pins(path)]
    assert len(names) == len(set(names))


def test_constraints_take_in_every_other_file():
    text = (REQUIREMENTS / 'constraints.txt').read_text()
    taken_in = set(re.findall(r'^-c (\S+)', text, re.M))
    others = {path.name for path in FILES} - {'constraints.txt'}
    assert taken_in == others


def test_pins_lie_in_the_ranges_that_the_package_states():
    pins = {k: v for path in FILES for k, v in read_pins(path).items()}
    lines = (REQUIREMENTS / 'runtime.txt').read_text().splitlines()
    ranges = [Requirement(x) for x in lines if x and x[0] != '#']
    assert ranges
    for requirement in ranges:
        pin = pins[requirement.name]
        assert requirement.specifier.contains(pin), requirement


def test_torch_is_one_whose_weights_only_reading_holds():
    """Up to 2.5 it could be made to run code, and knew no names."""
    lines = (REQUIREMENTS / 'runtime.txt').read_text().splitlines()
    (torch,) = (Requirement(x) for x in lines if x.startswith('torch>'))
    assert not torch.specifier.contains('2.5.1')
    assert torch.specifier.contains('2.6.0')


def test_pre_commit_runs_the_pinned_ruff():
    text = (ROOT / '.pre-commit-config.yaml').read_text()
    (repo,) = (r for r in yaml.safe_load(text)['repos'] if 'ruff' in r['repo'])
    pins = read_pins(REQUIREMENTS / 'dev.txt')
    assert repo['rev'] == f'v{pins["ruff"]}'


def test_workflow_covers_the_supported_versions_of_python():
    text = (ROOT / '.github' / 'workflows' / 'test.yml').read_text()
    matrix = yaml.safe_load(text)['jobs']['test']['strategy']['matrix']
    assert matrix['python'] == ['3.10', '3.11', '3.12']


def test_citation_and_version_agree():
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    assert citation['version'] == __version__
