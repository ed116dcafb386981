"""Cases: downloads, from a server on this machine."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from hostile.checkpoints import finished, train
from hostile.files import BROKEN, HOSTILE, legacy_zip, torch_zip
from hostile.harness import Case, Command, Place

_AREA = 'downloads'


class _Handler(BaseHTTPRequestHandler):
    """Serve a folder; the first part of a path says how."""

    def __init__(self, folder: Path, *args: Any) -> None:
        self.folder = folder
        super().__init__(*args)

    def do_GET(self) -> None:  # the name is http.server's
        how, _, rest = self.path.lstrip('/').partition('/')
        if how == 'gone':
            self.send_error(404)
            return
        if how == 'broken':
            self.send_error(500)
            return
        if how == 'loop':
            self.send_response(302)
            self.send_header('Location', self.path)
            self.end_headers()
            return
        path = self.folder / rest
        content = path.read_bytes() if path.is_file() else b''
        length = len(content)
        if how == 'cut':
            content = content[: length // 2]
        self.send_response(200)
        if how != 'endless':
            self.send_header('Content-Length', str(length))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


def serve(folder: Path) -> int:
    """Serve a folder in a process of its own; return the port."""
    server = ThreadingHTTPServer(
        ('127.0.0.1', 0), functools.partial(_Handler, folder)
    )
    if os.fork() == 0:
        parent = os.getppid()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        while os.getppid() == parent:
            threading.Event().wait(0.5)
        os._exit(0)
    port: int = server.server_address[1]
    server.socket.close()
    return port


def _cached(place: Place) -> Callable[[], None]:
    """Return what gives a process caches of its own, with a file in it."""
    cache = place.home / 'cache'
    place.write('cache/torch/hub/checkpoints/resnet18-f37072fd.pth', 'mine')

    def act() -> None:
        os.environ['TORCH_HOME'] = str(cache / 'torch')
        os.environ['XDG_CACHE_HOME'] = str(cache)
        os.environ['HOME'] = str(place.home)
        os.environ['no_proxy'] = os.environ['NO_PROXY'] = '127.0.0.1'

    return act


def _fetched(
    write: Any, name: str = 'w.pth', how: str = 'file', good: str = 'student'
) -> Callable[[Place], Command]:
    """Return a training from a URL, of which ``write`` made the file."""

    def prepare(place: Place) -> Command:
        url = _url(place, write, name, how, good)
        command = train(place, place.toys.plain, f'load_from={url}')
        return Command('train', command.arguments, within=_cached(place))

    return prepare


def _url(
    place: Place, write: Any, name: str, how: str, good: str = 'student'
) -> str:
    toys = place.toys
    folder = toys.served / place.folder.name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    if not path.exists():
        write(path, place.marker, getattr(toys, good))
    return f'http://127.0.0.1:{toys.port}/{how}/{folder.name}/{name}'


def _good(path: Path, marker: Path, good: Path) -> None:
    path.write_bytes(good.read_bytes())


def _twice(place: Place) -> list[Command]:
    """Fetch two files of one name; the second fits nothing."""
    first = _url(place, _good, 'w.pth', 'file')
    folder = place.toys.served / place.folder.name / 'other'
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'w.pth').write_bytes(b'Not found')
    second = first.replace('/w.pth', '/other/w.pth')
    within = _cached(place)
    return [
        Command(
            'train',
            train(place, place.toys.plain, f'load_from={first}').arguments,
            within=within,
            must_work=True,
        ),
        Command(
            'train',
            [place.toys.plain, '--work-dir', 'other', '--cfg-options',
             f'load_from={second}'],
            within=within,
        ),
    ]  # fmt: skip


def _mended(place: Place) -> list[Command]:
    """Fetch a file that is cut short, and once more when it is whole."""
    cut = _url(place, _good, 'w.pth', 'cut')
    within = _cached(place)
    commands = []
    for url, work in ((cut, 'first'), (cut.replace('/cut/', '/file/'),
                                       'work')):  # fmt: skip
        commands.append(
            Command(
                'train',
                [place.toys.plain, '--work-dir', work, '--cfg-options',
                 f'load_from={url}'],
                within=within,
            )
        )  # fmt: skip
    return commands


def cases() -> list[Case]:
    """Return them."""
    url = (r'127\.0\.0\.1',)
    found = [
        Case('good', _AREA, _fetched(_good), 'survived', check=finished),
        Case('cut short', _AREA, _fetched(_good, how='cut'), 'clear', url),
        Case('cut short, then whole', _AREA, _mended, 'survived',
             check=finished),
        Case('not there', _AREA, _fetched(_good, how='gone'), 'clear', url),
        Case('the server fails', _AREA, _fetched(_good, how='broken'),
             'clear', url),
        Case('sent on without end', _AREA, _fetched(_good, how='loop'),
             'clear', url),
        # Of which nobody could say that it is whole.
        Case('without a length', _AREA, _fetched(_good, how='endless'),
             'clear', url),
        Case('a hash that is wrong', _AREA,
             _fetched(_good, name='w-00000000.pth'), 'clear', url),
        Case('two files of one name', _AREA, _twice, 'clear', url),
        Case('a zip named like torchvision\'s', _AREA,
             _fetched(legacy_zip, name='x.zip'), 'clear', url),
        Case('a zip with a file of torchvision\'s', _AREA,
             _fetched(legacy_zip, name='resnet18-f37072fd.pth'), 'clear',
             url),
        Case('a zip bomb', _AREA,
             _fetched(lambda p, m, g: torch_zip(p, 200, True)), 'clear',
             url),
        Case('no port is open', _AREA, _closed, 'clear', url),
        Case('no such host', _AREA, _no_host, 'clear', (r'nothing\.invalid',)),
        Case('no such scheme', _AREA, _no_scheme, 'clear', ('gopher',)),
        Case('unknown weights of torchvision', _AREA, _no_model, 'clear',
             ('resnet9999',)),
    ]  # fmt: skip
    for kind in ('os.system', 'getattr', 'old format'):
        found.append(
            Case(f'hostile: {kind}', _AREA, _fetched(HOSTILE[kind]),
                 'clear', url)
        )  # fmt: skip
    for kind in ('web page', 'empty', 'bits flipped', 'billion laughs'):
        expect: Any = 'either' if kind == 'billion laughs' else 'clear'
        found.append(Case(kind, _AREA, _fetched(BROKEN[kind]), expect, url))
    return found


def _from(address: str) -> Callable[[Place], Command]:
    def prepare(place: Place) -> Command:
        command = train(place, place.toys.plain, f'load_from={address}')
        return Command('train', command.arguments, within=_cached(place))

    return prepare


_closed = _from('http://127.0.0.1:9/w.pth')
_no_host = _from('http://nothing.invalid/w.pth')
_no_scheme = _from('gopher://127.0.0.1/w.pth')
_no_model = _from('torchvision://resnet9999')
