"""Check that JSON of others is read within bounds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmtst.utils.errors import ConfigError
from mmtst.utils.plain_json import PlainJsonError, parse_json, read_json

CONTENT = {'a': [1, -2.5, 'é', None, True], 'b': {'c': [[]]}, 'd': 2**63}


def nested(depth: int) -> str:
    return '[' * depth + ']' * depth


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16'])
def test_plain_content_comes_back(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / 'x.json'
    text = json.dumps(CONTENT, ensure_ascii=False)
    path.write_bytes(text.encode(encoding))
    assert read_json(path, where='here') == CONTENT
    assert parse_json(text, depth=None, finite=False) == CONTENT


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (nested(100_000), 'nested too deep'),
        (nested(33), 'nested deeper than 32'),
        ('{"a":' * 33 + '1' + '}' * 33, 'nested deeper than 32'),
        ('1' * 5000, '5000 digits'),
        ('[-' + '1' * 21 + ']', '21 digits'),
        ('[1e999]', 'too large'),
        ('[-1' + '0' * 400 + '.5]', 'too large'),
        ('[NaN]', 'NaN'),
        ('{"a": -Infinity}', '-Infinity'),
        ('', 'not JSON'),
        ('{"a": 1', 'not JSON'),
        ('\0', 'not JSON'),
        (b'\xff\xfe\xfd', 'not text'),
        (b'{"a": "\xc3("}', 'not text'),
    ],
    ids=lambda value: str(value)[:20],
)
def test_all_else_is_one_error(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    with pytest.raises(PlainJsonError, match=message):
        parse_json(text)
    path = tmp_path / 'x.json'
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_json(path, where='a.place', what='the thing', fix='write it')
    for part in ('the thing', 'a.place', 'x.json', 'write it'):
        assert part in str(caught.value)


def test_bounds_can_be_moved(tmp_path: Path) -> None:
    assert parse_json(nested(32)) is not None
    assert parse_json(nested(40), depth=None) is not None
    assert parse_json('[1e999, NaN]', finite=False)[0] == float('inf')
    # What would break the reader itself stays refused.
    for text in (nested(100_000), '1' * 5000):
        with pytest.raises(PlainJsonError):
            parse_json(text, depth=None, finite=False)
    path = tmp_path / 'x.json'
    path.write_text('[1, 2, 3]')
    assert read_json(path, where='x', most_bytes=9) == [1, 2, 3]
    with pytest.raises(ConfigError, match='larger than'):
        read_json(path, where='x', most_bytes=8)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A pipe would be waited for without end."""
    os.mkfifo(tmp_path / 'pipe')
    for path, message in (
        (tmp_path, 'is not a file'),
        (tmp_path / 'pipe', 'is not a file'),
        (tmp_path / 'none', 'does not exist'),
        ('a\0b', 'cannot be read'),
        (tmp_path / ('x' * 300), 'cannot be read'),
    ):
        with pytest.raises(ConfigError, match=message):
            read_json(path, where='x')


def test_a_recursion_limit_that_others_raised_does_not_matter() -> None:
    # In a process of its own, which a mistake would end. mmrazor sets this
    # limit when it is imported.
    code = (
        'import sys; sys.setrecursionlimit(2**20)\n'
        'from mmtst.utils.plain_json import PlainJsonError, parse_json\n'
        'try:\n    parse_json("[" * 10**6)\n'
        'except PlainJsonError as error:\n    print(error)\n'
        'assert sys.getrecursionlimit() == 2**20'
    )
    done = subprocess.run(
        [sys.executable, '-c', code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert 'nested too deep' in done.stdout, done.stderr
    assert done.returncode == 0
