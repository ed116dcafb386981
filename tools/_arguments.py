"""Check arguments of tools as they are read, before anything is done."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import DictAction

from mmtst.utils.errors import ConfigError

# What numpy and torch take of a seed alike.
LARGEST_SEED = 2**32 - 1


def whole(least: int = 1, most: int = 10**9) -> Callable[[str], int]:
    """Return a reader of whole numbers between bounds."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(
                f'{text[:40]!r} is no whole number from {least} to {most}'
            )
        return value

    return read


def number(
    least: float = 0.0, most: float = math.inf, *, above: bool = False
) -> Callable[[str], float]:
    """Return a reader of finite numbers between bounds.

    Args:
        least: Smallest one.
        most: Largest one.
        above: Whether it must exceed ``least``.
    """

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        low = value > least if above else value >= least
        if not (low and value <= most and math.isfinite(value)):
            raise argparse.ArgumentTypeError(
                f'{text[:40]!r} is no number {"over" if above else "from"} '
                f'{least:g}' + (f' to {most:g}' if most < math.inf else '')
            )
        return value

    return read


seed = whole(0, LARGEST_SEED)


def filled(text: str) -> str:
    """Read a word that must not be empty."""
    if not text.strip():
        raise argparse.ArgumentTypeError('it is empty')
    return text


def setting(text: str) -> str:
    """Read a setting of a config, ``key=value``, and leave it as it is."""
    key, equals, _ = text.partition('=')
    if not equals or not all(key.split('.')):
        raise argparse.ArgumentTypeError(f'{text!r} is no KEY=VALUE')
    return text


def existing_folder(text: str) -> str:
    """Read the path of a folder that is there."""
    if not _looks(os.path.isdir, filled(text)):
        raise argparse.ArgumentTypeError(f'there is no folder {text!r}')
    return text


def existing_file(text: str) -> str:
    """Read the path of a file that is there."""
    if not _looks(os.path.isfile, filled(text)):
        raise argparse.ArgumentTypeError(f'there is no file {text!r}')
    return text


def output_folder(text: str) -> str:
    """Read the path of a folder that is there or can be made."""
    reason = _why_no_folder(Path(filled(text)))
    if reason:
        raise argparse.ArgumentTypeError(reason)
    return text


def output_file(*suffixes: str) -> Callable[[str], str]:
    """Return a reader of paths of files that can be written.

    Args:
        suffixes: Those that the name may have; any, if none is given.
    """

    def read(text: str) -> str:
        path = Path(filled(text))
        if _looks(os.path.isdir, text):
            raise argparse.ArgumentTypeError(
                f'{text!r} is a folder, a file is wanted'
            )
        if suffixes and path.suffix not in suffixes:
            raise argparse.ArgumentTypeError(
                f'{text!r} does not end with {" or ".join(suffixes)}'
            )
        reason = _why_no_folder(path.parent)
        if reason:
            raise argparse.ArgumentTypeError(reason)
        return text

    return read


def as_path(read: Callable[[str], str]) -> Callable[[str], Path]:
    """Return a reader of the same whose value is a path."""
    return lambda text: Path(read(text))


class Options(DictAction):  # type: ignore[misc]
    """Read ``key=value``; what is none ends in one line."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Put a dictionary into the namespace."""
        for text in [values] if isinstance(values, str) else values:
            key, equals, _ = text.partition('=')
            if not equals or not all(key.split('.')):
                parser.error(
                    f'argument {option_string}: {text!r} is no KEY=VALUE'
                )
        try:
            super().__call__(parser, namespace, values, option_string)
        except (ValueError, AssertionError, IndexError) as error:
            parser.error(
                f'argument {option_string}: {" ".join(values)}: {error}'
            )


def check_inputs_stay(
    outputs: Iterable[str | Path], inputs: Iterable[str | Path | None]
) -> None:
    """Refuse to write over what is read.

    Raises:
        ConfigError: An output is one of the inputs.
    """
    read = [Path(path) for path in inputs if path and os.path.exists(path)]
    for output in map(Path, outputs):
        for path in read:
            if output.exists() and output.samefile(path):
                raise ConfigError(
                    'the output would be written over what is read',
                    where='the output',
                    got=str(output),
                    fix='give another name',
                )


def check_files_to_write(where: str, paths: Sequence[str | Path]) -> None:
    """Look whether files can be written, before the work that makes them.

    Raises:
        ConfigError: One cannot.
    """
    for path in paths:
        try:
            output_file()(str(path))
        except argparse.ArgumentTypeError as error:
            raise ConfigError(
                f'this cannot be written: {error}', where=where, got=str(path)
            ) from error


def _looks(look: Callable[[str], bool], text: str) -> bool:
    try:
        return look(text)
    except ValueError:  # a null byte
        return False


def _why_no_folder(path: Path) -> str | None:
    """Say why a folder cannot be made or written into."""
    if '\0' in str(path):
        return f'{str(path)[:80]!r} is no path'
    try:
        for part in (path, *path.parents):
            if part.is_dir():
                good = os.access(part, os.W_OK | os.X_OK)
                return None if good else f'{str(part)!r} cannot be written'
            if part.exists() or part.is_symlink():
                return f'{str(part)!r} is no folder'
    except (OSError, ValueError) as error:
        return f'{str(path)[:80]!r} is no path: {error}'
    return None
