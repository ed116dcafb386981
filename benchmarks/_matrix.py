"""Read a matrix of trainings, and say what is wrong with it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
TEACHER = 'teacher'
_KEYS = frozenset(
    (
        'name', 'seeds', 'options', 'configs', 'teacher', 'teachers', 'arms',
        'include', 'without', 'fork', 'baseline', 'paper',
    )
)  # fmt: skip
_NEEDED = frozenset(('name', 'seeds', 'configs'))
_OF_AN_ARM = frozenset(('config', 'options', 'teacher', 'from', 'fork'))
_OF_A_CONFIG = frozenset(('file', 'options'))


class MatrixError(ValueError):
    """Say what is wrong with a matrix."""


def read_matrix(path: str | Path) -> dict[str, Any]:
    """Read a matrix, with the arms of the files it includes.

    A matrix is a YAML file with ``name``, ``seeds``, ``options`` of all of
    it; ``configs``, by short names: their ``file``, a path from the root, and
    ``options``; ``teacher``, an arm of its own that is trained once, with
    seed 0, and ``teachers``, further ones, by name; ``arms``; ``fork``, the
    epoch (or iteration) after which some of them part; ``include``, files of
    further arms beside it, and ``without``, which of those to leave out. For
    ``report.py``: ``baseline``, an arm, and ``paper``, its figures by arm.

    An arm has a ``config``, one of the short names, and its ``options``;
    ``teacher``, one of the ``teachers``, or ``false`` if it needs none;
    ``from``, another arm that it goes on from at the ``fork``, with the same
    seed; a ``fork`` of its own, where that is another.

    Raises:
        MatrixError: A file is missing or no YAML; something in it is
            missing, unknown or of the wrong kind.
    """
    path = Path(path)
    matrix = _read(path)
    _check_keys(matrix, _KEYS, _NEEDED, path.name)
    includes = matrix.get('include', [])
    if not _are_names(includes):
        raise MatrixError(f'{path.name}: include must be a list of files')
    arms: dict[str, Any] = {}
    for name in includes:
        arms |= _read(path.parent / name)
    _check_are_names(arms, 'arms', path.name)
    # What the matrix itself says of an arm comes over what it includes.
    for name, entry in _mapping(matrix, 'arms', path.name).items():
        given = _checked_arm(f'{path.name}: arm "{name}"', entry)
        below = _checked_arm(f'{path.name}: arm "{name}"', arms.get(name))
        options = {**below['options'], **given['options']}
        arms[name] = {**below, **given, 'options': options}
    without = matrix.get('without', [])
    if not _are_names(without):
        raise MatrixError(f'{path.name}: without must be a list of arms')
    for name in without:
        if name not in arms:
            raise MatrixError(f'{path.name}: without: no arm "{name}"')
        del arms[name]
    matrix['arms'] = {
        name: _checked_arm(f'{path.name}: arm "{name}"', entry)
        for name, entry in arms.items()
    }
    matrix['options'] = _mapping(matrix, 'options', path.name)
    _check_teachers(matrix, path.name)
    _check_configs(matrix, path.name)
    _check_seeds(matrix, path.name)
    _check_names(matrix, path.name)
    return matrix


def folder_name(arm: str) -> str:
    """Return what the work dirs of an arm are called."""
    return re.sub(r'[^\w.]+', '-', arm)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise MatrixError(f'{path}: {error.strerror}') from error
    # ValueError: no text, no date, a number of too many digits.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise MatrixError(f'{path}: no YAML: {error}') from error
    if not isinstance(content, dict):
        raise MatrixError(f'{path}: must be a mapping of names')
    return content


def _mapping(
    content: Mapping[str, Any], key: str, where: str
) -> dict[str, Any]:
    """Return a mapping that may be missing, or left empty."""
    value = content.get(key) or {}
    if not isinstance(value, dict):
        raise MatrixError(f'{where}: {key} must be a mapping, got {value!r}')
    _check_are_names(value, key, where)
    return value


def _are_names(values: Any) -> bool:
    return isinstance(values, list) and all(
        isinstance(value, str) and '\0' not in value for value in values
    )


def _check_are_names(values: Mapping[Any, Any], key: str, where: str) -> None:
    if not _are_names(list(values)):
        raise MatrixError(
            f'{where}: {key}: names must be texts, got {list(values)!r:.80}'
        )


def _check_keys(
    content: Mapping[str, Any],
    known: Collection[str],
    needed: Collection[str],
    where: str,
) -> None:
    if unknown := set(content) - set(known):
        raise MatrixError(
            f'{where}: unknown keys: {sorted(map(str, unknown))}; known are '
            f'{", ".join(sorted(known))}'
        )
    if missing := set(needed) - set(content):
        raise MatrixError(f'{where}: missing keys: {sorted(missing)}')


def _checked_arm(where: str, entry: Any) -> dict[str, Any]:
    """Return an arm's entry, with options, after a look at its keys."""
    if not isinstance(entry or {}, dict):
        raise MatrixError(f'{where}: must be a mapping, got {entry!r}')
    entry = dict(entry or {})
    _check_keys(entry, _OF_AN_ARM, (), where)
    return {**entry, 'options': _mapping(entry, 'options', where)}


def _check_teachers(matrix: dict[str, Any], where: str) -> None:
    if TEACHER in matrix:
        matrix[TEACHER] = _checked_arm(f'{where}: teacher', matrix[TEACHER])
    matrix['teachers'] = {
        name: _checked_arm(f'{where}: teacher "{name}"', entry)
        for name, entry in _mapping(matrix, 'teachers', where).items()
    }


def _check_configs(matrix: dict[str, Any], where: str) -> None:
    configs = _mapping(matrix, 'configs', where)
    for name, entry in configs.items():
        own = f'{where}: config "{name}"'
        if not isinstance(entry, dict):
            raise MatrixError(f'{own}: must be a mapping, got {entry!r}')
        _check_keys(entry, _OF_A_CONFIG, ('file',), own)
        entry['options'] = _mapping(entry, 'options', own)
        if not _is_file(str(entry['file'])):
            raise MatrixError(f'{own}: no file {entry["file"]}')


def _is_file(name: str) -> bool:
    try:
        return (ROOT / name).is_file()
    except (OSError, ValueError):  # too long; with a null byte
        return False


def _check_seeds(matrix: Mapping[str, Any], where: str) -> None:
    seeds = matrix['seeds']
    whole = isinstance(seeds, list) and all(type(x) is int for x in seeds)
    if not whole or not seeds:
        raise MatrixError(
            f'{where}: seeds must be a list of whole numbers, got {seeds!r}'
        )


def _check_names(matrix: Mapping[str, Any], where: str) -> None:
    arms = matrix['arms']
    if not arms:
        raise MatrixError(f'{where}: there are no arms')
    baseline = matrix.get('baseline')
    if baseline is not None and baseline not in list(arms):
        raise MatrixError(f'{where}: baseline: no arm "{baseline}"')
    if not isinstance(matrix['name'], str) or not matrix['name']:
        raise MatrixError(
            f'{where}: name must be a text, got {matrix["name"]!r}'
        )
    names = [*arms, *matrix['teachers'], TEACHER]
    folders = Counter(map(folder_name, names))
    if alike := [name for name in names if folders[folder_name(name)] > 1]:
        raise MatrixError(f'{where}: names too much alike: {alike}')
