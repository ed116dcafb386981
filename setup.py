"""Describe the package; put configs and tools into it when it is built."""

import os
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
# What OpenMMLab's tools look for in the installed package, under ``.mim``.
MIM = ('configs', 'tools', 'model-index.yml')


def read_version():
    """Read the version without importing the package."""
    scope = {}
    exec((ROOT / 'mmtst' / 'version.py').read_text(), scope)
    return scope['__version__']


def read_requirements():
    """Read the ranges, without comments."""
    lines = (ROOT / 'requirements' / 'runtime.txt').read_text().splitlines()
    return [line for line in lines if line and not line.startswith('#')]


def read_readme():
    """Read the long description; a checkout may be without one."""
    readme = ROOT / 'README.md'
    return readme.read_text() if readme.exists() else ''


class BuildWithMim(build_py):
    """Copy ``MIM`` into a wheel; link it for an editable install.

    pip announces an editable install by the command ``editable_wheel``,
    which sets ``editable_mode`` here; ``develop`` is never among the
    arguments.
    """

    def run(self):
        """Build, then add ``mmtst/.mim``."""
        if self.editable_mode:
            super().run()
            self._link(ROOT / 'mmtst' / '.mim')
        else:
            # Modules removed since the last build would go along.
            built = Path(self.build_lib) / 'mmtst'
            shutil.rmtree(built, ignore_errors=True)
            super().run()
            self._copy(built / '.mim')

    def _link(self, folder):
        folder.mkdir(exist_ok=True)
        for name in MIM:
            link = folder / name
            if link.is_symlink():
                link.unlink()
            if (ROOT / name).exists():
                link.symlink_to(os.path.relpath(ROOT / name, folder))

    def _copy(self, folder):
        skip = shutil.ignore_patterns('__pycache__', '*.pyc')
        folder.mkdir(parents=True)
        for name in MIM:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, folder / name, ignore=skip)
            elif (ROOT / name).exists():
                shutil.copyfile(ROOT / name, folder / name)


setup(
    name='mmtst',
    version=read_version(),
    description='Data-based knowledge distillation for OpenMMLab',
    long_description=read_readme(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    keywords='knowledge distillation, data augmentation, object detection',
    classifiers=[
        'Development Status :: 3 - Alpha',
        'Intended Audience :: Science/Research',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
    packages=find_packages(include=['mmtst', 'mmtst.*']),
    package_data={'mmtst': ['py.typed', 'augmentation/priors/*']},
    include_package_data=False,
    python_requires='>=3.10,<3.13',
    install_requires=read_requirements(),
    cmdclass={'build_py': BuildWithMim},
    zip_safe=False,
)
