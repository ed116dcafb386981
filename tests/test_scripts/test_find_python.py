"""The first Python that fits is taken; where none does, the message says so.

Interpreters are played by scripts that answer as one of some version would.
"""

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / 'scripts' / 'find_python.sh'


@pytest.fixture
def place(tmp_path):
    """Put a pretended interpreter somewhere."""

    def put(name, version):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if version is None:  # as a shim of pyenv does
            text = 'echo "pyenv: command not found" >&2; exit 127'
        else:
            fits = (
                (3, 10) <= tuple(map(int, version.split('.')))[:2] <= (3, 12)
            )
            text = (
                f'case "$2" in *print*) echo {version};; '
                f'*) exit {0 if fits else 1};; esac'
            )
        path.write_text(f'#!/bin/sh\n{text}\n')
        path.chmod(0o755)
        return str(path)

    return put


@pytest.fixture
def find(tmp_path):
    def run(asked=''):
        return subprocess.run(
            ['/bin/sh', str(SCRIPT), str(tmp_path / 'venv'), asked],
            env={'PATH': str(tmp_path / 'path')},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_takes_python3_where_it_fits(place, find):
    place('path/python3', '3.11.7')
    place('path/python3.12', '3.12.1')
    assert find().stdout == 'python3\n'


@pytest.mark.parametrize('version', ['3.9.18', '3.13.0', '2.7.18', None])
def test_passes_over_what_does_not_fit(place, find, version):
    place('path/python3', version)
    place('path/python3.12', None)
    place('path/python3.10', '3.10.13')
    assert find().stdout == 'python3.10\n'


def test_stays_with_the_environment_there_is(place, find):
    inside = place('venv/bin/python', '3.12.1')
    place('path/python3', '3.11.7')
    assert find().stdout == f'{inside}\n'


def test_takes_what_was_asked_for_alone(place, find):
    place('venv/bin/python', '3.12.1')
    place('path/python3', '3.11.7')
    asked = place('my own/python', '3.10.13')
    assert find(asked).stdout == f'{asked}\n'


def test_says_which_version_it_found(place, find):
    place('path/python3', '3.13.0')
    done = find()
    assert done.returncode == 1
    assert 'needs Python 3.10, 3.11 or 3.12' in done.stderr
    assert 'got:   python3 (3.13.0)' in done.stderr
    assert 'make setup PYTHON=' in done.stderr


def test_says_so_where_there_is_none(place, find):
    done = find()
    assert done.returncode == 1
    assert 'no Python at all' in done.stderr


def test_refuses_an_unfit_one_that_was_asked_for(place, find):
    place('path/python3', '3.11.7')
    done = find(place('old/python', '3.9.1'))
    assert done.returncode == 1
    assert done.stdout == ''
    assert '(3.9.1)' in done.stderr
