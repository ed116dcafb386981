"""Check that downloads come whole or not at all, each under its URL."""

from __future__ import annotations

import hashlib
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from mmengine.runner import CheckpointLoader

from mmtst.utils import download_cache
from mmtst.utils.checkpoint import read_checkpoint
from mmtst.utils.download_cache import (
    DownloadError,
    cache_home,
    cached_path,
    fetch,
)
from mmtst.utils.errors import ConfigError
from mmtst.utils.safe_loading import install_safe_loading

pytestmark = pytest.mark.usefixtures('checkpoints_as_before')
CONTENT = b'weights' * 100
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Answer with what a test has put under a path."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(('127.0.0.1', 0), Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        # How the answer is to go wrong.
        self.fault: str | None = None
        self.done = threading.Event()

    @property
    def url(self) -> str:
        return f'http://127.0.0.1:{self.server_port}'


class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    server: Server

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        server.asked.append(self.path)
        content = server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        fault = server.fault
        self.send_response(200)
        half = content[: len(content) // 2]
        if fault in ('chunked', 'chunked, cut'):
            self.send_header('Transfer-Encoding', 'chunked')
            self.end_headers()
            self.wfile.write(b'%x\r\n%s\r\n' % (len(content), content))
            if fault == 'chunked':
                self.wfile.write(b'0\r\n\r\n')
        elif fault == 'no length':
            self.end_headers()
            self.wfile.write(content)
        elif fault == 'endless':
            self.send_header('Content-Length', str(1 << 60))
            self.end_headers()
        else:
            self.send_header('Content-Length', str(len(content)))
            self.end_headers()
            self.wfile.write(half if fault else content)
            self.wfile.flush()
            if fault == 'silence':
                server.done.wait(10)
        self.close_connection = fault is not None


@pytest.fixture
def server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Server]:
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    monkeypatch.setenv('MMTST_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    server = Server()
    thread = threading.Thread(
        target=server.serve_forever, args=(0.02,), daemon=True
    )
    thread.start()
    yield server
    server.done.set()
    server.shutdown()
    server.server_close()
    thread.join()


def files_under(folder: Path) -> list[Path]:
    return [path for path in folder.rglob('*') if path.is_file()]


def test_the_home_follows_the_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv('MMTST_CACHE', raising=False)
    monkeypatch.delenv('XDG_CACHE_HOME', raising=False)
    assert cache_home() == Path.home() / '.cache' / 'mmtst'
    monkeypatch.setenv('XDG_CACHE_HOME', '/cache')
    assert cache_home() == Path('/cache/mmtst')
    monkeypatch.setenv('MMTST_CACHE', '~/own')
    assert cache_home() == Path.home() / 'own'


def test_a_file_is_fetched_once(server: Server, tmp_path: Path) -> None:
    server.files['/a/net.pth'] = CONTENT
    first = fetch(f'{server.url}/a/net.pth')
    assert first.read_bytes() == CONTENT
    assert first.name == 'net.pth'
    assert fetch(f'{server.url}/a/net.pth') == first
    assert server.asked == ['/a/net.pth']
    assert files_under(tmp_path / 'cache') == [first]


def test_two_urls_share_nothing(server: Server) -> None:
    for path, content in (
        ('/a/net.pth', b'a'),
        ('/b/net.pth', b'b'),
        ('/a/net.pth?version=2', b'c'),
    ):
        server.files[path] = content
    for path, content in server.files.items():
        assert fetch(server.url + path).read_bytes() == content
    for path, content in server.files.items():
        assert fetch(server.url + path).read_bytes() == content
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    'url',
    [
        'http://h/',
        'http://h/..',
        'http://h/a/../.b',
        'http://h/%2e%2e%2fx',
        'http://h/' + 'x' * 5000,
        'http://h/a\\b:c\n',
    ],
)
def test_no_name_leaves_its_folder(url: str, tmp_path: Path) -> None:
    path = cached_path(url, tmp_path)
    assert path.resolve().parents[2] == tmp_path
    assert len(path.name) <= 100 and not path.name.startswith('.')


@pytest.mark.parametrize(
    ('fault', 'message'),
    [
        ('cut', f'cut off: {len(CONTENT) // 2} of {len(CONTENT)} bytes'),
        ('chunked, cut', 'cut off'),
        ('silence', 'cut off: timed out'),
        ('no length', 'does not say how long'),
        ('endless', 'larger than 64 GiB'),
    ],
)
def test_what_is_cut_off_leaves_nothing(
    server: Server,
    tmp_path: Path,
    fault: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(download_cache, 'TIMEOUT', 0.3)
    url = f'{server.url}/net.pth'
    server.files['/net.pth'] = CONTENT
    server.fault = fault
    with pytest.raises(DownloadError, match=message) as caught:
        fetch(url)
    assert url in str(caught.value)
    assert files_under(tmp_path) == []
    server.fault = None
    assert fetch(url).read_bytes() == CONTENT


def test_other_ends_are_marked_too(server: Server) -> None:
    server.files['/net.pth'] = CONTENT
    server.fault = 'chunked'
    assert fetch(f'{server.url}/net.pth').read_bytes() == CONTENT
    name = f'/net-{DIGEST[:8]}.pth'
    server.files[name] = CONTENT
    server.fault = 'no length'
    assert fetch(server.url + name).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ('name', 'good'),
    [
        (f'net_20200130-{DIGEST[:8]}.pth', True),
        (f'net-{DIGEST}.pth', True),
        ('net_20200130-0123abcd.pth', False),
        (f'net-{"0" * 64}.pth', False),
        # No hashes: too short, a date, not at the end.
        ('net-18.pth', True),
        ('net-20200130.pth', True),
        ('0123abcd-net.pth', True),
    ],
)
def test_a_hash_in_the_name_is_checked(
    server: Server, tmp_path: Path, name: str, good: bool
) -> None:
    server.files[f'/{name}'] = CONTENT
    if good:
        assert fetch(f'{server.url}/{name}').read_bytes() == CONTENT
        return
    with pytest.raises(DownloadError, match='SHA-256 begins with'):
        fetch(f'{server.url}/{name}')
    assert files_under(tmp_path) == []


def test_a_full_or_closed_cache_is_said(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files['/net.pth'] = CONTENT
    (tmp_path / 'cache').write_text('a file in the place of the folder')
    with pytest.raises(DownloadError, match='cannot be stored') as caught:
        fetch(f'{server.url}/net.pth')
    assert 'MMTST_CACHE' in str(caught.value)
    (tmp_path / 'cache').unlink()
    usage = type('Usage', (), {'free': 5})
    monkeypatch.setattr(download_cache.shutil, 'disk_usage', lambda _: usage)
    with pytest.raises(DownloadError, match='no room for 700 bytes'):
        fetch(f'{server.url}/net.pth')
    assert files_under(tmp_path) == []


@pytest.mark.parametrize(
    'url', ['http://', 'http://[', 'http://127.0.0.1:99999/x', 'http://a b/x']
)
def test_urls_that_are_none_are_one_error(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise URLError('no such host')

    if url == 'http://a b/x':
        monkeypatch.setattr(download_cache, 'urlopen', fail)
    with pytest.raises(DownloadError):
        fetch(url, tmp_path)


def test_processes_may_fetch_at_once(server: Server, tmp_path: Path) -> None:
    server.files['/net.pth'] = CONTENT * 1000
    results: list[bytes] = []

    def get() -> None:
        results.append(fetch(f'{server.url}/net.pth').read_bytes())

    threads = [threading.Thread(target=get) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert results == [CONTENT * 1000] * 6
    assert len(files_under(tmp_path / 'cache')) == 1


def test_a_legacy_zip_is_not_unpacked(server: Server, tmp_path: Path) -> None:
    """torch.hub would put the member over torchvision's own file."""
    install_safe_loading()
    hub = tmp_path / 'torch' / 'hub' / 'checkpoints'
    hub.mkdir(parents=True)
    (hub / 'resnet18.pth').write_bytes(b'good')
    outer = tmp_path / 'outer.pth'
    with zipfile.ZipFile(outer, 'w') as file:
        file.writestr('resnet18.pth', b'bad')
    server.files['/outer.pth'] = outer.read_bytes()
    with pytest.raises(ConfigError, match='cannot be read'):
        read_checkpoint(f'{server.url}/outer.pth', where='here')
    assert (hub / 'resnet18.pth').read_bytes() == b'good'
    assert files_under(tmp_path / 'torch') == [hub / 'resnet18.pth']
    # Nor does what cannot be read stay in the cache.
    assert files_under(tmp_path / 'cache') == []


def test_what_cannot_be_read_is_fetched_anew(
    server: Server, tmp_path: Path
) -> None:
    install_safe_loading()
    url = f'{server.url}/net.pth'
    server.files['/net.pth'] = b'<html>log in first</html>'
    with pytest.raises(ConfigError, match=url):
        read_checkpoint(url, where='model.teacher_ckpt')
    torch.save(dict(x=torch.ones(2)), tmp_path / 'net.pth')
    server.files['/net.pth'] = (tmp_path / 'net.pth').read_bytes()
    # What torch.hub's cache has under this name is not taken.
    hub = tmp_path / 'torch' / 'hub' / 'checkpoints'
    hub.mkdir(parents=True)
    torch.save(dict(x=torch.zeros(2)), hub / 'net.pth')
    found = CheckpointLoader.load_checkpoint(url, 'cpu')
    assert torch.equal(found['x'], torch.ones(2))


def test_a_server_that_refuses_is_named(server: Server) -> None:
    install_safe_loading()
    with pytest.raises(ConfigError, match='404') as caught:
        read_checkpoint(f'{server.url}/none.pth', where='model.teacher_ckpt')
    text = str(caught.value)
    assert 'where:   model.teacher_ckpt' in text and 'none.pth' in text
    assert 'trust' not in text
