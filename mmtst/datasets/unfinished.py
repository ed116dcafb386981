"""Write a folder beside its place, which it takes when all is written."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from mmtst.utils.errors import ConfigError

_MARK = '.unfinished'


def begin_folder(place: Path) -> Path:
    """Make an empty folder beside the place of one that is to be written.

    What a killed start has left there is removed; it bears a mark.

    Args:
        place: Of the folder, when it is finished.

    Returns:
        ``place`` with ``.part`` at the end of its name.

    Raises:
        ConfigError: Something else is there.
    """
    part = place.with_name(place.name + '.part')
    if os.path.lexists(part):
        if part.is_symlink() or not (part / _MARK).is_file():
            raise ConfigError(
                'something is in the place where the folder is written first',
                where='out',
                got=str(part),
                allowed='nothing, or what an earlier start left unfinished',
                fix='move it away, or name another folder to write',
            )
        shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    (part / _MARK).touch()
    return part


def finish_folder(part: Path, place: Path) -> None:
    """Put a written folder into its place.

    Args:
        part: From :func:`begin_folder`.
        place: Not there, or an empty folder.
    """
    if place.exists():
        place.rmdir()
    (part / _MARK).unlink()
    os.replace(part, place)
