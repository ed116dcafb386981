"""A folder that holds something else is not touched; ready costs nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

from scripts.bootstrap import steps
from scripts.bootstrap.errors import SetupError
from scripts.bootstrap.stamp import Stamp, compute_digest

ROOT = Path(__file__).parents[3]


def run(folder, *flags):
    return subprocess.run(
        [sys.executable, '-m', 'scripts.bootstrap', '--venv', folder, *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_folder_with_other_contents_is_left_alone(tmp_path, monkeypatch):
    (tmp_path / 'thesis.tex').write_text('years of work')
    monkeypatch.setattr(steps.mmcv_wheel, 'may_be_cached', lambda: True)
    with pytest.raises(SetupError, match='holds something else'):
        steps.Installer(tmp_path, Stamp()).run()
    assert (tmp_path / 'thesis.tex').read_text() == 'years of work'


def test_failure_is_told_in_words(tmp_path):
    (tmp_path / 'thesis.tex').touch()
    done = run(str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.strip().startswith('set-up stopped: ')
    assert 'Traceback' not in done.stderr


def test_ready_environment_costs_nothing(tmp_path):
    python = tmp_path / 'bin' / 'python'
    python.parent.mkdir()
    python.touch()
    digest = compute_digest(sys.version.split()[0])
    Stamp(digest, 'cpu').write(tmp_path)
    done = run(str(tmp_path))
    assert done.returncode == 0
    assert 'is set up' in done.stdout
    assert run(str(tmp_path), '--quiet').stdout == ''


def test_environment_without_its_python_is_not_ready(tmp_path):
    Stamp(compute_digest(sys.version.split()[0]), 'cpu').write(tmp_path)
    done = run(str(tmp_path))
    assert done.returncode == 1
    assert 'holds something else' in done.stderr
