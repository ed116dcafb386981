"""Look whether the machine has what set-up needs, before it starts."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from scripts.bootstrap.errors import SetupError

OLDEST, NEWEST = (3, 10), (3, 12)
GIB = 2**30
# Measured with torch 2.11.0 and its CUDA 13.0 libraries: 5.1 stay, 1.9 pass
# through the temporary folder and may be kept by pip.
VENV_GIB = 5.5
TEMPORARY_GIB = 2.0
DOWNLOAD_CACHE_GIB = 2.0
DISK_VARIABLE = 'MMTST_MIN_FREE_GB'

_PROBE = """
#include <Python.h>
#include <optional>
std::optional<int> probe() { return PY_MAJOR_VERSION; }
"""


def check_python() -> None:
    """Check this interpreter's version and its ``venv`` module.

    Raises:
        SetupError: It is too old or too new, or cannot make environments.
    """
    version = sys.version_info[:2]
    if not OLDEST <= version <= NEWEST:
        raise SetupError(
            'Set-up needs Python 3.10, 3.11 or 3.12',
            got=f'{sys.executable} is {version[0]}.{version[1]}',
            fix='make setup PYTHON=/path/to/python3.11',
        )
    name = f'python{version[0]}.{version[1]}'
    for module in ('venv', 'ensurepip'):
        if importlib.util.find_spec(module) is None:
            raise SetupError(
                f'{sys.executable} cannot create virtual environments',
                got=f'no module {module}',
                fix=f'Debian, Ubuntu: apt install {name}-venv',
            )


def check_disk(venv: Path, download_cache: Path) -> None:
    """Check that environment, downloads and temporary files will fit.

    Args:
        venv: Where the environment goes; need not exist.
        download_cache: Where pip keeps what it downloads.

    Raises:
        SetupError: A file system has too little free space. The total asked
            for can be lowered by the variable ``MMTST_MIN_FREE_GB``, for a
            torch without CUDA.
    """
    needs = (
        (_existing(venv), VENV_GIB),
        (_existing(Path(tempfile.gettempdir())), TEMPORARY_GIB),
        (_existing(download_cache), DOWNLOAD_CACHE_GIB),
    )
    share = 1.0
    if os.environ.get(DISK_VARIABLE):
        total = sum(need for _, need in needs)
        share = float(os.environ[DISK_VARIABLE]) / total
    per_device: dict[int, tuple[Path, float]] = {}
    for folder, need in needs:
        device = folder.stat().st_dev
        first, so_far = per_device.get(device, (folder, 0.0))
        per_device[device] = (first, so_far + need * share)
    for folder, need in per_device.values():
        free = shutil.disk_usage(folder).free / GIB
        if free < need:
            raise SetupError(
                'Too little free disk space for torch and its libraries',
                got=f'{free:.1f} GB free at {folder}, {need:.1f} GB needed',
                fix='free some, or set up elsewhere: make setup VENV=/path\n'
                f'where torch comes without CUDA: {DISK_VARIABLE}=4',
            )


def check_compiler() -> None:
    """Compile a line of C++17 that includes Python's headers.

    Raises:
        SetupError: There is no compiler, no header, or neither works.
    """
    compiler = os.environ.get('CXX', 'c++')
    include = sysconfig.get_paths()['include']
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, 'probe.cpp')
        source.write_text(_PROBE)
        command = [
            *compiler.split(),
            '-std=c++17',
            f'-I{include}',
            '-c',
            str(source),
            '-o',
            str(source.with_suffix('.o')),
        ]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False
            )
        except OSError as error:
            raise SetupError(
                'No C++ compiler, and mmcv has to be compiled',
                got=f'{compiler}: {error.strerror}',
                fix='Debian, Ubuntu: apt install g++\n'
                'Fedora: dnf install gcc-c++\n'
                'elsewhere installed: CXX=/path/to/g++ make setup',
            ) from None
    if done.returncode == 0:
        return
    if 'Python.h' in done.stderr:
        name = f'python{sys.version_info[0]}.{sys.version_info[1]}'
        raise SetupError(
            'Python was installed without its C headers',
            got=f'no Python.h in {include}',
            fix=f'Debian, Ubuntu: apt install {name}-dev\n'
            'or name another: make setup PYTHON=/path/to/python3.11',
        )
    raise SetupError(
        'The C++ compiler does not compile C++17',
        got='\n'.join(done.stderr.splitlines()[:6]),
        fix='GCC 9 or later: CXX=/path/to/g++ make setup',
    )


def count_compile_jobs() -> int:
    """Say how many compilers may run at once.

    Returns:
        ``MAX_JOBS`` where it is set, else the number of cores this process
        may use, at most one for each 1.5 GB of memory available.
    """
    if os.environ.get('MAX_JOBS', '').isdigit():
        return max(1, int(os.environ['MAX_JOBS']))
    if hasattr(os, 'sched_getaffinity'):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    try:
        pages = os.sysconf('SC_AVPHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    except (ValueError, OSError):
        return cores
    return max(1, min(cores, int(pages / (1.5 * GIB))))


def _existing(path: Path) -> Path:
    for folder in (path, *path.parents):
        if folder.is_dir():
            return folder
    return Path(path.anchor or '.')
