"""Say what a matrix of trainings consists of."""

from __future__ import annotations

import copy
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from _matrix import ROOT, TEACHER, MatrixError, folder_name
from mmengine.config import Config

from mmtst.engine.resume import final_checkpoint

_WORK_DIR_OF = re.compile(r'\{([^{}]+)\}')


@dataclass(frozen=True)
class Cell:
    """Say what one training is.

    Attributes:
        arm: Of the matrix, or ``teacher``.
        seed: Of ``randomness``.
        config: Path from the root of the project.
        options: What is overridden, by path in the config; ``{ARM}`` stands
            for the work dir of that arm's training of this seed.
        folder: Its work dir.
        needs: What has to have ended before, by arm; ``teacher`` whichever
            it is.
        origin: The arm that it goes on from.
        fork: After which epoch (or iteration) of that.
    """

    arm: str
    seed: int
    config: str
    options: Mapping[str, Any]
    folder: Path
    needs: Mapping[str, Cell] = field(default_factory=dict)
    origin: str | None = None
    fork: int | None = None

    @property
    def key(self) -> tuple[str, int]:
        """Return what tells the cell from the others of its matrix."""
        return self.arm, self.seed

    @property
    def made_of(self) -> dict[str, Any]:
        """Return what tells its training from another of the same seed."""
        teacher = self.needs.get(TEACHER)
        return {
            'config': self.config,
            'options': dict(self.options),
            'teacher': teacher and teacher.arm,
            'from': self.origin,
            'fork': self.fork,
        }

    @cached_property
    def cfg(self) -> Config:
        """Return the whole config."""
        cfg = copy.deepcopy(_read(self.config))
        cfg.merge_from_dict(dict(self.options))
        return cfg

    @cached_property
    def final_checkpoint(self) -> Path:
        """Return what the training leaves at its end."""
        return final_checkpoint(self.cfg, self.folder)

    @cached_property
    def fork_checkpoint(self) -> Path | None:
        """Return what it goes on from.

        Raises:
            MatrixError: The other arm leaves nothing there.
        """
        if self.origin is None or self.fork is None:
            return None
        origin = self.needs[self.origin]
        saves = origin.cfg.default_hooks.checkpoint
        if self.fork % saves.interval or saves.get('max_keep_ckpts', -1) > 0:
            raise MatrixError(
                f'{self.arm}: the arm "{self.origin}" has to keep its '
                f'checkpoint at {self.fork}, but saves one every '
                f'{saves.interval} and keeps '
                f'{saves.get("max_keep_ckpts", -1)} (-1: all)'
            )
        final = origin.final_checkpoint
        return final.with_name(f'{final.stem.split("_")[0]}_{self.fork}.pth')

    def finds(self, needed: Cell) -> bool:
        """Tell whether what it needs of another is there."""
        if needed.arm != self.origin:
            return needed.final_checkpoint.exists()
        fork = self.fork_checkpoint
        return fork is not None and fork.exists()

    @property
    def command(self) -> list[str]:
        """Return the training's command line."""
        options = {**self.options, 'randomness.seed': self.seed}
        if TEACHER in self.needs:
            teacher = str(self.needs[TEACHER].final_checkpoint)
            options.setdefault('model.teacher_ckpt', teacher)
        given = [
            f'{key}={self._filled_in(value)}' for key, value in options.items()
        ]
        train = [sys.executable, 'tools/train.py', self.config, '--resume']
        folder = str(self.folder)
        return [*train, '--work-dir', folder, '--cfg-options', *given]

    def _filled_in(self, value: Any) -> str:
        if not isinstance(value, str):
            return str(value).replace(' ', '')
        return _WORK_DIR_OF.sub(
            lambda name: str(self.needs[name[1]].folder), value
        )


def cells(
    matrix: Mapping[str, Any],
    root: Path,
    arms: Sequence[str] | None = None,
) -> Iterator[Cell]:
    """Yield a matrix's cells, each after those it needs.

    Args:
        matrix: Of :func:`read_matrix`; with ``set``, options over all others.
        root: Of the work dirs.
        arms: Those that are wanted; all if ``None``.

    Raises:
        MatrixError: An arm goes on from one that is not there, or needs
            itself.
    """
    made: dict[tuple[str, int], Cell] = {}
    for seed in matrix['seeds']:
        for arm in matrix['arms'] if arms is None else arms:
            _make(matrix, root, arm, seed, made, ())
    yield from made.values()


@cache
def _read(config: str) -> Config:
    """Read a config file; half a second each where it inherits."""
    return Config.fromfile(ROOT / config, import_custom_modules=False)


def _make(
    matrix: Mapping[str, Any],
    root: Path,
    arm: str,
    seed: int,
    made: dict[tuple[str, int], Cell],
    above: tuple[str, ...],
) -> Cell:
    """Return an arm's cell, after having made those it needs."""
    teachers = {TEACHER: matrix.get(TEACHER), **matrix['teachers']}
    if arm in teachers:
        seed = 0
    if (arm, seed) in made:
        return made[arm, seed]
    given = {**teachers, **matrix['arms']}
    entry = given.get(arm)
    if entry is None or arm in above:
        what = (
            f'is not there; there are {", ".join(matrix["arms"])}'
            if entry is None
            else 'needs itself'
        )
        raise MatrixError(f'{matrix["name"]}: the arm "{arm}" {what}')
    needs: dict[str, Cell] = {}
    teacher = entry.get('teacher', arm not in teachers and TEACHER)
    if teacher:
        needs[TEACHER] = _make(matrix, root, teacher, 0, made, (*above, arm))
    for name in _named(entry):
        needs[name] = _make(matrix, root, name, seed, made, (*above, arm))
    made[arm, seed] = _cell(matrix, root, arm, seed, entry, needs)
    return made[arm, seed]


def _named(entry: Mapping[str, Any]) -> Iterator[str]:
    """Yield the arms that an entry names."""
    if entry.get('from'):
        yield entry['from']
    for value in entry['options'].values():
        if isinstance(value, str):
            yield from _WORK_DIR_OF.findall(value)


def _cell(
    matrix: Mapping[str, Any],
    root: Path,
    arm: str,
    seed: int,
    entry: Mapping[str, Any],
    needs: Mapping[str, Cell],
) -> Cell:
    config = matrix['configs'].get(entry.get('config'))
    if config is None:
        raise MatrixError(
            f'{matrix["name"]}: the arm "{arm}" has no config among '
            f'{", ".join(matrix["configs"])}'
        )
    options = {
        **matrix['options'],
        **config['options'],
        **entry['options'],
        **matrix.get('set', {}),
    }
    fork = entry.get('fork', matrix.get('fork'))
    if entry.get('from') and fork is None:
        raise MatrixError(
            f'{matrix["name"]}: the arm "{arm}" goes on from another, but '
            'the matrix does not say at which fork'
        )
    folder = root / matrix['name'] / folder_name(arm) / str(seed)
    return Cell(
        arm,
        seed,
        config['file'],
        options,
        folder,
        needs,
        entry.get('from'),
        fork if entry.get('from') else None,
    )
