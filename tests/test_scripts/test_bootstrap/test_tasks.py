"""Programs run side by side; what fails is shown with its end and a cure."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scripts.bootstrap import tasks
from scripts.bootstrap.errors import SetupError


def start(tmp_path, code, name='work', read=lambda line: line.strip()):
    command = [sys.executable, '-c', code]
    return tasks.Task(name, command, tmp_path / f'{name}.log', read)


@pytest.mark.parametrize(
    ('line', 'expected'),
    [
        ('  Downloading numpy-2.2.6-cp311-x.whl (16.8 MB)', 'numpy (16.8 MB)'),
        ('Downloading https://host/a/b/rich-1-py3.whl (1 kB)', 'rich (1 kB)'),
    ],
)
def test_pip_download(line, expected):
    assert tasks.read_pip(line + '\n') == f'downloading {expected}'


def test_other_lines_of_pip():
    line = 'Installing collected packages: a, b, c'
    assert tasks.read_pip(line) == 'installing 3 packages'
    assert tasks.read_pip('Collecting numpy') is None


def test_ninja():
    assert tasks.read_ninja('  [35/77] c++ -MMD -c x.cpp') == '[35/77]'
    assert tasks.read_ninja('  running build_ext') is None


def test_imports():
    assert tasks.read_imports('import mmcv.ops\n') == 'mmcv.ops'
    assert tasks.read_imports('torch 2') is None


def test_status_follows_the_output_and_the_log_keeps_it(tmp_path):
    task = start(tmp_path, 'print(1); print(2)')
    tasks.run_tasks(task)
    assert task.status == 'done'
    assert task.log.read_text() == '1\n2\n'


def test_plain_progress_where_there_is_no_terminal(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(tasks, '_PLAIN_INTERVAL', 0.2)
    code = (
        'import time\n'
        'for i in range(4): print(f"[{i}/4]", flush=True); time.sleep(0.3)'
    )
    tasks.run_tasks(start(tmp_path, code, 'mmcv', tasks.read_ninja))
    out = capsys.readouterr().out
    assert '\r' not in out
    assert 'mmcv [1/4]' in out
    assert 'mmcv [2/4]' in out


def test_failure_shows_the_end_of_the_output_without_noise(tmp_path):
    code = (
        'print("Looking in indexes: somewhere")\n'
        'for i in range(100): print("line", i)\n'
        'raise SystemExit(3)'
    )
    with pytest.raises(SetupError) as raised:
        tasks.run_tasks(start(tmp_path, code))
    message = str(raised.value)
    assert 'work failed' in message
    assert 'line 99' in message
    assert 'line 50' not in message
    assert 'somewhere' not in message
    assert str(tmp_path / 'work.log') in message


@pytest.mark.parametrize(
    ('printed', 'cure'),
    [
        ('OSError: [Errno 28] No space left on device', 'disk space'),
        ('c++: fatal error: Killed signal terminated', 'MAX_JOBS=1'),
        ('Temporary failure in name resolution', 'package index'),
        ('ERROR: No matching distribution found for x', 'no such version'),
    ],
)
def test_known_failures_come_with_a_cure(tmp_path, printed, cure):
    code = f'print({printed!r}); raise SystemExit(1)'
    with pytest.raises(SetupError, match=cure):
        tasks.run_tasks(start(tmp_path, code))


def test_one_failure_stops_the_others(tmp_path):
    began = time.monotonic()
    slow = start(tmp_path, 'import time; time.sleep(60)', 'slow')
    with pytest.raises(SetupError, match='bad failed'):
        tasks.run_tasks(slow, start(tmp_path, 'raise SystemExit(1)', 'bad'))
    assert time.monotonic() - began < 30
    assert slow.is_done() or slow._process.poll() is not None


@pytest.mark.parametrize('end', [signal.SIGTERM, signal.SIGINT])
def test_stopped_set_up_leaves_no_program_behind(tmp_path, end):
    mark = tmp_path / 'still-running'
    child = (
        'import pathlib, time\n'
        'print("up", flush=True)\n'
        f'time.sleep(4); pathlib.Path({str(mark)!r}).touch()'
    )
    code = (
        'import signal, sys, pathlib\n'
        # A shell's background jobs, CI's perhaps, inherit it as ignored.
        'signal.signal(signal.SIGINT, signal.default_int_handler)\n'
        'from scripts.bootstrap import __main__ as program, tasks\n'
        'class Slow:\n'
        '    def __init__(self, *arguments): pass\n'
        '    def run(self):\n'
        f'        command = [sys.executable, "-c", {child!r}]\n'
        f'        log = pathlib.Path({str(tmp_path / "log")!r})\n'
        '        def read(line): print(line, flush=True)\n'
        '        tasks.run_tasks(tasks.Task("slow", command, log, read))\n'
        'program.Installer = Slow\n'
        f'sys.argv = ["x", "--venv", {str(tmp_path / "venv")!r}]\n'
        'sys.exit(program.main())'
    )
    with subprocess.Popen(
        [sys.executable, '-c', code],
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == 'up\n'
        process.send_signal(end)
        assert process.wait(timeout=20) in (143, 130)
    time.sleep(4.5)
    assert not mark.exists()


def test_nothing_leaks_in(monkeypatch):
    for name in ('PYTHONPATH', 'PYTHONHOME', 'VIRTUAL_ENV'):
        monkeypatch.setenv(name, '/elsewhere')
        assert name not in tasks.clean_environment()
    monkeypatch.setenv('PIP_CACHE_DIR', '/kept')
    assert tasks.clean_environment()['PIP_CACHE_DIR'] == '/kept'
