"""Do the steps of set-up in order."""

from __future__ import annotations

import sys
import time
import venv
from pathlib import Path

from scripts.bootstrap import mmcv_wheel
from scripts.bootstrap.errors import SetupError
from scripts.bootstrap.machine import (
    check_compiler,
    check_disk,
    check_python,
)
from scripts.bootstrap.pins import read_pins
from scripts.bootstrap.stamp import Stamp
from scripts.bootstrap.tasks import (
    Task,
    ask,
    read_imports,
    read_pip,
    run_tasks,
)

# pip check reports these: opencv-python-headless is what provides cv2 here.
_UNDERSTOOD = 'requires opencv-python, which is not installed'


class Installer:
    """Build one environment.

    Args:
        folder: The virtual environment.
        stamp: What set-up left there the last time.
    """

    def __init__(self, folder: Path, stamp: Stamp) -> None:
        self.folder = folder
        self.python = folder / 'bin' / 'python'
        self._stamp = stamp
        self._logs = folder / 'setup-logs'
        self._start = time.monotonic()

    def run(self) -> str:
        """Do all steps.

        Returns:
            What mmcv's ops were compiled for, for the stamp.

        Raises:
            SetupError: Something is missing, or a step failed.
        """
        check_python()
        self._check_folder()
        if not mmcv_wheel.may_be_cached():
            check_compiler()
        self._create()
        self._say('build tools')
        self._install('build tools', '-r', 'requirements/build.txt')
        self._say('torch and torchvision (about 2 GB where it has CUDA)')
        self._install(
            'torch',
            '-r',
            'requirements/torch.txt',
            '-c',
            'requirements/constraints.txt',
        )
        target = mmcv_wheel.choose_target(self.python, self._stamp.cuda)
        self._install_mmcv_and_packages(target)
        self._say('mmtst')
        self._install('mmtst', '--no-deps', '--no-build-isolation', '-e', '.')
        self._verify(target)
        return target.cuda

    def _check_folder(self) -> None:
        if not self._is_filled():
            return
        if not (self.folder / 'pyvenv.cfg').exists():
            raise SetupError(
                'The folder for the environment holds something else',
                got=str(self.folder),
                fix='name another: make setup VENV=/path',
            )
        inside = Path(sys.prefix).resolve() == self.folder.resolve()
        if inside and not self._is_usable():
            raise SetupError(
                'The environment is damaged',
                got=str(self.folder),
                fix='make clean-env setup',
            )

    def _create(self) -> None:
        if self._is_usable():
            return
        cache = ask(sys.executable, '-m', 'pip', 'cache', 'dir').stdout.strip()
        check_disk(self.folder, Path(cache or '~/.cache').expanduser())
        version = sys.version.split()[0]
        self._say(f'environment for Python {version} in {self.folder}')
        clear = self._is_filled()
        venv.create(self.folder, clear=clear, with_pip=True, symlinks=True)

    def _is_filled(self) -> bool:
        return self.folder.is_dir() and any(self.folder.iterdir())

    def _is_usable(self) -> bool:
        """Tell whether the environment works and has this Python's version."""
        question = 'import sys, pip; print(sys.version_info[:3])'
        try:
            done = ask(self.python, '-c', question)
        except OSError:
            return False
        return done.stdout.strip() == str(tuple(sys.version_info[:3]))

    def _install_mmcv_and_packages(self, target: mmcv_wheel.Target) -> None:
        log = self._logs / 'packages.log'
        files = ('packages.txt', 'dev.txt')
        names = [a for f in files for a in ('-r', f'requirements/{f}')]
        command = self._pip('--no-deps', *names)
        version = read_pins('mmcv.txt')['mmcv']
        wheel = mmcv_wheel.find_wheel(target)
        if wheel is not None:
            self._say(f'packages (mmcv {version} is compiled already)')
            run_tasks(Task('packages', command, log, read_pip))
        else:
            check_compiler()
            kind = 'CPU' if target.cuda == 'cpu' else target.cuda
            self._say(f'mmcv {version} (compiling for {kind}) and packages')
            with mmcv_wheel.Build(
                target, self._logs / 'mmcv_build.log'
            ) as build:
                packages = Task('packages', command, log, read_pip)
                try:
                    run_tasks(build.start(), packages)
                finally:
                    packages.stop()
                wheel = build.keep()
        # The same version, compiled for another torch, may be there.
        self._install('mmcv', '--no-deps', '--force-reinstall', str(wheel))

    def _verify(self, target: mmcv_wheel.Target) -> None:
        self._say('check')
        log = self._logs / 'verify.log'
        command = [str(self.python), '-m', 'scripts.bootstrap.verify']
        try:
            run_tasks(Task('importing', command, log, read_imports))
        except SetupError as error:
            wheel = mmcv_wheel.find_wheel(target)
            raise SetupError(
                f'{error}\n  If mmcv is what fails: rm {wheel} ; make setup'
            ) from None
        text = log.read_text()
        print(text[text.index('package ') :], end='')
        report = ask(self.python, '-m', 'pip', 'check').stdout
        for line in report.splitlines():
            if _UNDERSTOOD not in line and 'No broken' not in line:
                print(f'note: {line}')

    def _install(self, name: str, *arguments: str) -> None:
        log = self._logs / f'{name.replace(" ", "_")}.log'
        run_tasks(Task(name, self._pip(*arguments), log, read_pip))

    def _pip(self, *arguments: str) -> list[str]:
        self._logs.mkdir(exist_ok=True)
        # Byte code of the few modules in use comes with their first import;
        # that of all would take longer than the download.
        command = [str(self.python), '-m', 'pip', 'install', '--no-compile']
        return [*command, *arguments]

    def _say(self, text: str) -> None:
        seconds = time.monotonic() - self._start
        print(f'[{seconds:4.0f} s] {text}', flush=True)
