"""Download checkpoints into a cache of our own.

torch.hub's cache goes by the file's name alone, keeps what was cut short, and
unpacks zips of other packages over their files. Here a folder is named by the
hash of the whole URL; a file appears in it whole or not at all, and nothing
is unpacked.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse, InvalidURL
from pathlib import Path
from typing import IO
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from mmengine.logging import print_log
from tqdm import tqdm

from mmtst.utils.safe_reading import CheckpointError
from mmtst.version import __version__

CACHE_VARIABLE = 'MMTST_CACHE'
# Of silence, in seconds, after which a download counts as cut off.
TIMEOUT = 60.0
_CHUNK = 1 << 18
# No checkpoint comes near; a server may send without end.
_MOST_BYTES = 1 << 36
# torch's and OpenMMLab's convention: the first digits of the file's SHA-256.
_HASH = re.compile(r'-([0-9a-f]{8,64})\.[^.]+$')
_DATE = re.compile(r'20\d\d[01]\d[0-3]\d')
_BY_HAND = 'try again, or fetch the file by hand and give its path'


class DownloadError(CheckpointError):
    """Report a file that could not be fetched."""


def cache_home() -> Path:
    """Return the folder of what is downloaded.

    It is ``MMTST_CACHE``, or else ``XDG_CACHE_HOME/mmtst`` or
    ``~/.cache/mmtst``.
    """
    home = os.environ.get(CACHE_VARIABLE)
    if home:
        return Path(home).expanduser()
    base = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
    return Path(base).expanduser() / 'mmtst'


def cached_path(url: str, home: str | Path | None = None) -> Path:
    """Return where the file of a URL is, or will be.

    Args:
        url: The full URL; two that differ anywhere share nothing.
        home: The cache's folder; :func:`cache_home` by default.
    """
    root = cache_home() if home is None else Path(home)
    # Of the name only what is harmless; the folder tells files apart.
    name = re.sub(r'[^\w.-]|^\.', '_', Path(urlsplit(url).path).name)
    digest = hashlib.sha256(url.encode()).hexdigest()
    return root / 'checkpoints' / digest / (name[-100:] or 'file')


def fetch(url: str, home: str | Path | None = None) -> Path:
    """Return the file of a URL, downloaded unless the cache has it.

    Several processes may fetch one URL at once: each writes a file of its
    own, and the last to end gives it its name.

    Args:
        url: ``http://`` or ``https://``.
        home: The cache's folder; :func:`cache_home` by default.

    Raises:
        DownloadError: The file is not to be had, was cut short, is not the
            one whose hash its name carries, or cannot be stored.
    """
    with _explaining(url, home):
        path = cached_path(url, home)
        if path.is_file():
            return path
        print_log(f'Downloading {url} to {path}', logger='current')
        part = path.with_name(f'.{uuid.uuid4().hex}.part')
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open('xb') as file:
                digest = _download(url, file)
                file.flush()
                os.fsync(file.fileno())
            _check_hash(url, digest)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    return path


def forget(url: str, home: str | Path | None = None) -> None:
    """Remove the file of a URL from the cache, if it is there."""
    cached_path(url, home).unlink(missing_ok=True)


@contextmanager
def _explaining(url: str, home: str | Path | None) -> Iterator[None]:
    try:
        yield
    except DownloadError:
        raise
    except HTTPError as error:
        raise DownloadError(
            f'the server does not give the file: {error.code} {error.reason}',
            got=url,
            fix='correct the URL, or fetch the file by hand and give its path',
        ) from error
    except (InvalidURL, ValueError) as error:
        raise DownloadError(
            f'the URL cannot be used: {error}', got=url
        ) from error
    except (HTTPException, TimeoutError, ConnectionError) as error:
        raise DownloadError(
            f'the download was cut off: {error or type(error).__name__}',
            got=url,
            fix=_BY_HAND,
        ) from error
    except OSError as error:
        # Of the network where urllib wraps it, else of the disk.
        reason = getattr(error, 'reason', None)
        if reason is not None:
            raise DownloadError(
                f'the file cannot be downloaded: {reason}',
                got=url,
                fix=_BY_HAND,
            ) from error
        raise DownloadError(
            f'the download cannot be stored: {error.strerror or error}',
            got=str(home or cache_home()),
            fix=f'make room there, or set the variable {CACHE_VARIABLE} to '
            'a folder that can be written',
        ) from error


def _download(url: str, file: IO[bytes]) -> str:
    """Write what a URL gives, and return its SHA-256."""
    request = Request(url, headers={'User-Agent': f'mmtst/{__version__}'})
    with urlopen(request, timeout=TIMEOUT) as answer:
        size = _announced_size(answer, url)
        if size is not None:
            _check_room(size, file, url)
        digest, count = hashlib.sha256(), 0
        with tqdm(
            total=size,
            unit='B',
            unit_scale=True,
            disable=not sys.stderr.isatty(),
        ) as bar:
            while chunk := answer.read(_CHUNK):
                count += len(chunk)
                if count > _MOST_BYTES:
                    raise _too_large(url)
                file.write(chunk)
                digest.update(chunk)
                bar.update(len(chunk))
    # The reader itself ends in silence where a connection does.
    if size is not None and count != size:
        raise DownloadError(
            f'the download was cut off: {count} of {size} bytes came',
            got=url,
            fix=_BY_HAND,
        )
    return digest.hexdigest()


def _announced_size(answer: HTTPResponse, url: str) -> int | None:
    """Return the length; ``None`` where the end is marked otherwise."""
    given = answer.headers.get('Content-Length')
    if given is not None and given.strip().isdecimal():
        return int(given)
    if answer.chunked or _hash_in(url) is not None:
        return None
    raise DownloadError(
        'the server does not say how long the file is, so that a download '
        'cut short would not be noticed',
        got=url,
        fix='fetch the file by hand and give its path',
    )


def _check_room(size: int, file: IO[bytes], url: str) -> None:
    if size > _MOST_BYTES:
        raise _too_large(url)
    free = shutil.disk_usage(Path(file.name).parent).free
    if size > free:
        raise DownloadError(
            f'the disk of the cache has no room for {size:,} bytes: '
            f'{free:,} are free',
            got=file.name,
            fix=f'make room, or set the variable {CACHE_VARIABLE} to a '
            'folder that has it',
        )


def _too_large(url: str) -> DownloadError:
    return DownloadError(
        f'the file is larger than {_MOST_BYTES >> 30} GiB, and is not fetched',
        got=url,
    )


def _hash_in(url: str) -> str | None:
    """Return the hash that the file's name carries, if there is one."""
    found = _HASH.search(urlsplit(url).path)
    if found is None or _DATE.fullmatch(found[1]):
        return None
    return found[1]


def _check_hash(url: str, digest: str) -> None:
    wanted = _hash_in(url)
    if wanted is not None and not digest.startswith(wanted):
        raise DownloadError(
            'what came is not the file that its name promises: its SHA-256 '
            f'begins with {digest[: len(wanted)]}',
            got=url,
            allowed=wanted,
            fix=_BY_HAND,
        )
