"""Keep one line of each training of a matrix, and lose none."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from _cells import Cell
from _matrix import MatrixError
from _running import commits, peak_memory_mb
from _searches import read_searches
from collect_runs import read_lines, read_run

# The folders of a path that begins at the root.
_ABSOLUTE = re.compile(r"""(?<![\w.}])/[^\s'",\]]*/""")
Key = tuple[str, int]


def lines_by_key(file: Path) -> dict[Key, dict[str, Any]]:
    """Return the lines there are, by arm and seed.

    Raises:
        MatrixError: A line does not say of which arm and seed it is.
    """
    lines = read_lines(file)
    for line in lines:
        named = isinstance(line.get('name'), str)
        if not named or type(line.get('seed')) is not int:
            raise MatrixError(
                f'{file}: a line without the name of an arm and a seed: '
                f'{line!r:.80}'
            )
    return {(x['name'], x['seed']): x for x in lines}


def line_of(cell: Cell) -> dict[str, Any]:
    """Return the line of a cell that has ended.

    Raises:
        UnfinishedRun: It has no evaluation at its end.
    """
    line = read_run(cell.arm, cell.folder)
    line['peak_memory_mb'] = line['peak_memory_mb'] or peak_memory_mb(
        cell.folder
    )
    return {
        **line,
        'seed': cell.seed,
        **_what_it_is(cell),
        'searches': read_searches(cell.folder),
        'commits': commits(cell.folder),
    }


def add_line(file: Path, line: dict[str, Any]) -> None:
    """Add a line to a file, unless the same cell has one there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open('a+b') as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        _mend_end(opened)
        if (line['name'], line['seed']) in lines_by_key(file):
            return
        opened.write(json.dumps(line).encode() + b'\n')
        opened.flush()
        os.fsync(opened.fileno())


def check_lines(file: Path, cells: Iterable[Cell]) -> None:
    """Raise if a line is of another training than its cell.

    Raises:
        MatrixError: It is.
    """
    done = lines_by_key(file)
    for cell in cells:
        line = done.get(cell.key)
        if line is None:
            continue
        expected = {'config': Path(cell.config).stem, **_what_it_is(cell)}
        found = {name: line.get(name) for name in expected}
        if found != expected:
            raise MatrixError(
                f'{file.name}: the line of {cell.arm}, seed {cell.seed} is '
                f'of another training than the matrix has now: {found} '
                f'against {expected}; give the matrix another name'
            )


def _what_it_is(cell: Cell) -> dict[str, Any]:
    """Return what a line says of its training beside the config's name.

    Options come without the folders of one machine.
    """
    options = {
        name: _ABSOLUTE.sub('', str(value))
        for name, value in cell.options.items()
    }
    made_of = {**cell.made_of, 'options': options}
    return {name: made_of[name] for name in made_of if name != 'config'}


def _mend_end(file: BinaryIO) -> None:
    """Take away a line at the end that a kill has cut short."""
    file.seek(0)
    content = file.read()
    whole = content.rfind(b'\n') + 1
    if whole == len(content):
        return
    try:
        json.loads(content[whole:])
    except ValueError:
        file.truncate(whole)
    else:  # an editor has left out the end of the line
        file.write(b'\n')
