"""Hold what a torch file declares against what it has, before torch reads it.

torch believes a file: it takes memory for what is declared, reads past the
end of a storage that is shorter, and leaves unwritten memory in one that a
tensor outgrows. Here the file's directory is looked at, and its pickle is run
with stand-ins for all that it names; the storages, nearly all of the bytes,
are not read. What passes is given to torch.
"""

from __future__ import annotations

import os
import tarfile
import zipfile
from pickle import UnpicklingError
from typing import IO, Any

from mmtst.utils.bounded_pickle import (
    ALLOWANCE,
    GROWTH,
    Source,
)
from mmtst.utils.bounded_tree import BoundError, check_tree
from mmtst.utils.torch_pickle import NOT_OURS, LegacyReader, ZipReader

_ZIP = b'PK\x03\x04'
# What a compressed pickle may grow to, beside its multiple.
_PICKLE_ALLOWANCE = 1 << 20
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001


def check_checkpoint(file: IO[bytes]) -> None:
    """Check that a checkpoint keeps to its size.

    Args:
        file: Where to read, whole.

    Raises:
        BoundError: The file is broken, is none of torch's, declares more
            than it has, or would grow out of bounds.
        UnpicklingError: It asks for what is not read.
        OSError: It cannot be read.
    """
    try:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        head = file.read(512)
        file.seek(0)
        if head.startswith(_ZIP):
            _check_zip(file, size)
        else:
            _check_legacy(file, size, head)
    except (OSError, UnpicklingError):
        raise
    except Exception as error:
        raise BoundError(
            f'it is broken ({type(error).__name__}: {str(error):.200})'
        ) from error


def _check_zip(file: IO[bytes], size: int) -> None:
    with zipfile.ZipFile(file) as archive:
        parts = {part.filename: part for part in archive.infolist()}
        # torch's own reader takes no notice of case.
        if len({name.lower() for name in parts}) != len(archive.infolist()):
            raise BoundError('it holds two parts of one name')
        if not parts or archive.comment:
            raise BoundError(NOT_OURS)
        whole = sum(part.file_size for part in parts.values())
        if whole > ALLOWANCE + GROWTH * size:
            raise BoundError(f'its {size:,} bytes would unpack to {whole:,}')
        folder = next(iter(parts)).partition('/')[0]
        if f'{folder}/constants.pkl' in parts:
            raise BoundError('it holds a TorchScript program, not weights')
        pickled = parts.get(f'{folder}/data.pkl')
        if pickled is None:
            raise BoundError(NOT_OURS)
        most = _PICKLE_ALLOWANCE + GROWTH * pickled.compress_size
        if pickled.file_size > most:
            raise BoundError(
                f'its pickle of {pickled.compress_size:,} bytes would unpack '
                f'to {pickled.file_size:,}'
            )
        program = archive.read(pickled)
    sizes = {name: part.file_size for name, part in parts.items()}
    reader = ZipReader(program, size, f'{folder}/data/', sizes)
    check_tree(reader.load())


def _check_legacy(file: IO[bytes], size: int, head: bytes) -> None:
    try:
        tarfile.TarInfo.frombuf(head, 'utf-8', 'surrogateescape')
    except tarfile.HeaderError:
        pass
    else:
        raise BoundError('it is a tar archive, as torch wrote before 2018')
    source = Source(file, size)

    def load() -> Any:
        content = LegacyReader(source, size).load()
        check_tree(content)
        return content

    try:
        magic = load()
    except BoundError as error:
        raise BoundError(f'{NOT_OURS}: {error}') from error
    if magic != _LEGACY_MAGIC or load() != _LEGACY_PROTOCOL:
        raise BoundError(NOT_OURS)
    load()  # Of the machine it was written on.
    reader = LegacyReader(source, size)
    check_tree(reader.load())
    keys = load()
    if not isinstance(keys, list) or len(set(keys)) != len(keys):
        raise BoundError(NOT_OURS)
    # Where one is left out, its memory stays unwritten.
    if set(keys) != set(reader.roots):
        raise BoundError('its tensors and its storages do not agree')
    if sum(8 + reader.roots[key].size for key in keys) > source.left():
        raise BoundError('it ends too early')
