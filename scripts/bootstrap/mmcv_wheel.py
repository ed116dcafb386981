"""Compile mmcv once for each Python, torch and CUDA, and keep the wheel.

pip's own cache is of no use here: it is keyed by the source package alone and
would hand out a wheel that was built against another torch.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from scripts.bootstrap.errors import SetupError
from scripts.bootstrap.machine import count_compile_jobs
from scripts.bootstrap.pins import read_pins
from scripts.bootstrap.tasks import (
    Task,
    ask,
    read_ninja,
    run_tasks,
)

# Python's own build flags carry -g, which doubles the time of the compile;
# they are replaced as a whole, so the optimization has to be named too.
FLAGS = '-O2 -g0 -DNDEBUG -fwrapv'
# Every one of mmcv's 77 files starts by including this header.
_HEADER = 'torch/types.h'

# torchvision's operators load only where it fits torch exactly.
_LOOK = """
import json, os, torch, torchvision.ops
torchvision.ops.nms(torch.rand(1, 4), torch.rand(1), 0.5)
from torch.utils.cpp_extension import CUDA_HOME, include_paths
print(json.dumps(dict(
    torch=torch.__version__,
    cuda=torch.version.cuda,
    gpu=torch.cuda.is_available(),
    capability=torch.cuda.get_device_capability()
    if torch.cuda.is_available() else None,
    nvcc=bool(CUDA_HOME) and os.path.exists(f'{CUDA_HOME}/bin/nvcc'),
    include=include_paths(),
)))
"""


@dataclass(frozen=True)
class Target:
    """Say what a wheel is compiled for.

    Attributes:
        python: Interpreter of the environment.
        torch: Its torch version, ``2.11.0+cu130``.
        cuda: ``cpu``, or CUDA version and architectures, ``cuda13.0-9.0``.
        include: Folders of torch's headers.
    """

    python: Path
    torch: str
    cuda: str
    include: tuple[str, ...]

    @property
    def key(self) -> str:
        """Name the folder of the cache that the wheel lies in."""
        tag = f'cp{sys.version_info[0]}{sys.version_info[1]}'
        return f'{tag}-torch{self.torch}-{self.cuda}'


def find_cache() -> Path:
    """Name the folder of kept wheels: ``MMTST_WHEEL_CACHE`` or XDG's."""
    if os.environ.get('MMTST_WHEEL_CACHE'):
        return Path(os.environ['MMTST_WHEEL_CACHE']).expanduser()
    home = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
    return Path(home).expanduser() / 'mmtst' / 'wheels'


def may_be_cached() -> bool:
    """Tell whether a wheel for this Python and the pinned torch is kept.

    Asked before torch is installed, when its build is not known yet.
    """
    tag = f'cp{sys.version_info[0]}{sys.version_info[1]}'
    torch = read_pins('torch.txt')['torch']
    return any(find_cache().glob(f'{tag}-torch{torch}*/mmcv-*.whl'))


def choose_target(python: Path, cuda_before: str) -> Target:
    """Check torch and torchvision, and decide whether to build CUDA ops.

    CUDA ops are built where ``FORCE_CUDA=1`` says so, where they were built
    before, or where a GPU and nvcc are present; ``FORCE_CUDA=0`` forbids.

    Args:
        python: Interpreter of the environment, the pair installed.
        cuda_before: ``Target.cuda`` of the last set-up, or an empty string.

    Raises:
        SetupError: The pair does not fit, or CUDA ops are asked for and there
            is no nvcc.
    """
    done = ask(python, '-c', _LOOK)
    if done.returncode:
        frozen = ask(python, '-m', 'pip', 'list', '--format=freeze').stdout
        pair = [v for v in frozen.splitlines() if v.startswith('torch')]
        raise SetupError(
            'torch and torchvision do not fit each other',
            got='\n'.join([*pair, *done.stderr.splitlines()[-2:]]),
            fix='both have to come from one place, both with CUDA or both\n'
            'without (+cpu); an extra index in the settings of pip that\n'
            'offers only one of them makes this. Mend that, then:\n'
            'make clean-env setup',
        )
    seen = json.loads(done.stdout.splitlines()[-1])
    asked = os.environ.get('FORCE_CUDA', '')
    has_cuda = bool(seen['nvcc'] and seen['cuda'])
    if asked == '1' and not has_cuda:
        raise SetupError(
            'FORCE_CUDA=1 needs nvcc and a torch with CUDA',
            got=f'torch {seen["torch"]}, nvcc: {seen["nvcc"]}',
            fix='name the toolkit: CUDA_HOME=/path FORCE_CUDA=1 make setup',
        )
    wanted = asked == '1' or (
        asked != '0'
        and has_cuda
        and (seen['gpu'] or cuda_before.startswith('cuda'))
    )
    cuda = 'cpu'
    if wanted:
        own = seen['capability'] and '{}.{}'.format(*seen['capability'])
        arch = os.environ.get('TORCH_CUDA_ARCH_LIST') or own or 'all'
        arch = arch.replace(';', '_').replace(' ', '_')
        cuda = f'cuda{seen["cuda"]}-{arch}'
    return Target(python, seen['torch'], cuda, tuple(seen['include']))


def find_wheel(target: Target) -> Path | None:
    """Find the kept wheel for the target and the pinned mmcv."""
    version = read_pins('mmcv.txt')['mmcv']
    wheels = (find_cache() / target.key).glob(f'mmcv-{version}-*.whl')
    return next(iter(sorted(wheels)), None)


class Build:
    """Compile mmcv into the cache; a context manager around the task.

    Args:
        target: What to compile for.
        log: Where the compiler's output goes.
    """

    def __init__(self, target: Target, log: Path) -> None:
        self._target = target
        self._log = log
        self._folder = Path(tempfile.mkdtemp(prefix='mmtst-mmcv-'))

    def __enter__(self) -> Build:
        return self

    def __exit__(self, *error: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> Task:
        """Start the compile."""
        flags = f'{FLAGS} {os.environ.get("CFLAGS", "")}'.strip()
        env = {'MMCV_WITH_OPS': '1', 'MAX_JOBS': str(count_compile_jobs())}
        if self._target.cuda == 'cpu':
            env['FORCE_CUDA'] = '0'
            env['CUDA_VISIBLE_DEVICES'] = ''
            flags += self._precompile_header(flags)
        else:
            env['FORCE_CUDA'] = '1'
            env['CPATH'] = self._add_cuda_headers()
        env['CFLAGS'] = flags
        command = [str(self._target.python), '-m', 'pip', 'wheel', '-v']
        command += ['--no-cache-dir', '--no-deps', '--no-build-isolation']
        command += ['-r', 'requirements/mmcv.txt', '-w', str(self._folder)]
        return Task('mmcv', command, self._log, read_ninja, env)

    def keep(self) -> Path:
        """Move the finished wheel into the cache."""
        built = next(self._folder.glob('mmcv-*.whl'))
        folder = find_cache() / self._target.key
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = folder / f'{built.name}.{os.getpid()}'
        shutil.copyfile(built, unfinished)
        kept = folder / built.name
        os.replace(unfinished, kept)
        return kept

    def _precompile_header(self, flags: str) -> str:
        """Parse torch's headers once instead of in every file.

        Takes the compile to less than half. GCC only; it checks by itself
        that header and file are compiled alike and ignores the header where
        they are not, so nothing but time depends on it.

        Returns:
            The flag that uses the header; empty where there is none.
        """
        compiler = os.environ.get('CXX', 'c++').split()
        header = self._folder / 'header' / 'mmcv_torch.h'
        header.parent.mkdir()
        header.write_text(f'#include <{_HEADER}>\n')
        command = [*compiler, *flags.split(), '-fPIC', '-std=c++17']
        command += [f'-I{folder}' for folder in self._target.include]
        command += ['-x', 'c++-header', str(header), '-o', f'{header}.gch']
        kind = subprocess.run(
            [*compiler, '--version'],
            capture_output=True,
            text=True,
            check=False,
        )
        if 'Free Software Foundation' not in kind.stdout:
            return ''
        log = self._log.with_name('mmcv_header.log')
        task = Task('mmcv header', command, log, lambda line: None)
        try:
            run_tasks(task)
        except SetupError:
            return ''
        return f' -include {header}'

    def _add_cuda_headers(self) -> str:
        """Add the headers that come with torch's CUDA libraries.

        A toolkit of nvcc alone lacks those of cusparse and its siblings.
        """
        site = Path(self._target.include[0]).parents[1]
        found = sorted(site.glob('nvidia/cu*/include'))
        given = os.environ.get('CPATH')
        return ':'.join([*([given] if given else []), *map(str, found)])
