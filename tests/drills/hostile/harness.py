"""Run a tool on what a case has prepared, and judge what came of it.

Importing OpenMMLab takes ten seconds, so one process imports it all and forks
for every call of a tool; a call is what a user's command line would be, the
tool's ``__main__`` block included.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import resource
import runpy
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parents[3]
TOOLS = ROOT / 'tools'
OUTCOMES = (
    'clear', 'survived', 'traceback', 'silent', 'lost', 'executed'
)  # fmt: skip
BAD = OUTCOMES[2:]
# What a training writes, and rewrites when it goes on.
ITS_OWN = (
    'work/last_checkpoint',
    'work/policy.jsonl',
    'work/search_*.json',
    'work/.*',
    'work/*.py',
    'work/2*',
)
# What a process may take beside what the imports have taken.
_MEMORY = 4 << 30
_CRASHES = ('Traceback (most recent call last)', 'Fatal Python error')


@dataclass
class Place:
    """Be the folder of one case.

    Attributes:
        folder: All that belongs to the case.
        toys: What all cases share; never to be changed.
        may_change: Patterns of files below ``home`` that a tool may rewrite
            or remove.
    """

    folder: Path
    toys: Any
    may_change: list[str] = field(default_factory=lambda: list(ITS_OWN))

    @property
    def home(self) -> Path:
        """Where the tools are started."""
        return self.folder / 'home'

    @property
    def work(self) -> Path:
        """Return the work dir of the case's training."""
        return self.home / 'work'

    @property
    def marker(self) -> Path:
        """What exists once hostile code has run."""
        return self.folder / 'executed'

    @property
    def bad(self) -> Path:
        """Return the name of a bad checkpoint."""
        return self.home / 'bad.pth'

    def make(self) -> None:
        """Make the folder, with files of the user's that are to stay."""
        precious = self.home / 'precious'
        (precious / 'run').mkdir(parents=True)
        (precious / 'notes.txt').write_text('a year of work')
        (precious / 'model.pth').write_bytes(b'weights of years')
        (precious / 'run' / 'epoch_1.pth').write_bytes(b'an old run')

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file below home."""
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            content = content.encode()
        path.write_bytes(content)
        return path

    def copy(self, source: Path, name: str) -> Path:
        """Copy a file or folder of the toys below home."""
        target = self.home / name
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        return target


@dataclass
class Command:
    """Be one call of a tool.

    Attributes:
        tool: Its name.
        arguments: Of the command line.
        within: Called in the tool's process before it starts.
        during: Called beside it with its process id and its log file.
        must_work: Whether the case goes on only if it ends with 0.
    """

    tool: str
    arguments: Sequence[object]
    within: Callable[[], None] | None = None
    during: Callable[[int, Path], None] | None = None
    must_work: bool = False


Prepared = Command | list[Command]


@dataclass(frozen=True)
class Case:
    """Be something that may go wrong, and what is right then.

    Attributes:
        name: Of the case; unique within its area.
        area: Row of the table.
        prepare: Writes the files, and returns the commands; the last one is
            judged.
        expect: ``'clear'``: ends with a message; ``'survived'``: does what
            it is to do; ``'named'``: either, but says what was wrong;
            ``'either'``: does it, or ends with a message.
        words: Patterns that the message has, the culprit's name among them.
        check: Whether what was promised is there.
    """

    name: str
    area: str
    prepare: Callable[[Place], Prepared]
    expect: Literal['clear', 'survived', 'named', 'either'] = 'clear'
    words: tuple[str, ...] = ()
    check: Callable[[Place], bool] | None = None
    timeout: float = 150.0


@dataclass(frozen=True)
class Verdict:
    """Say what came of a case."""

    case: Case
    outcome: str
    why: str
    seconds: float


def run_case(case: Case, folder: Path, toys: Any) -> Verdict:
    """Prepare, run and judge a case; its folder is removed if all is well."""
    began = time.monotonic()
    place = Place(folder, toys)
    shutil.rmtree(folder, ignore_errors=True)
    place.make()
    prepared = case.prepare(place)
    commands = prepared if isinstance(prepared, list) else [prepared]
    before = listing(place.home)
    # 'either' and 'named' may end so too.
    code, text = 0, ''
    for number, command in enumerate(commands):
        log = folder / f'output_{number}.txt'
        code, text = call(command, place.home, log, case.timeout)
        if command.must_work and code != 0:
            text = f'(an earlier command failed)\n{text}'
            break
    changed = [
        path
        for path, content in lost(before, place.home)
        if not _matches(path, place.may_change)
    ]
    outcome, why = judge(case, place, code, text, changed)
    if outcome not in BAD:
        shutil.rmtree(folder, ignore_errors=True)
    return Verdict(case, outcome, why, time.monotonic() - began)


def judge(
    case: Case, place: Place, code: int, text: str, changed: list[str]
) -> tuple[str, str]:
    """Return the outcome of a case, and a line on it."""
    if place.marker.exists():
        return 'executed', last_lines(text)
    if changed:
        return 'lost', f'changed or gone: {", ".join(changed[:4])}'
    if code < 0 or any(word in text for word in _CRASHES):
        return 'traceback', f'exit {code}: {last_lines(text)}'
    unnamed = [
        word for word in case.words if not re.search(word, text, re.IGNORECASE)
    ]
    if code != 0:
        if case.expect == 'survived':
            return 'lost', f'should have gone on: {last_lines(text)}'
        if unnamed:
            return 'silent', f'does not say {unnamed}: {last_lines(text)}'
        return 'clear', ''
    if case.expect == 'clear':
        return 'silent', f'passed without a word: {last_lines(text)}'
    if case.expect != 'either' and unnamed:
        return 'silent', f'does not say {unnamed}: {last_lines(text)}'
    if case.check is not None and not case.check(place):
        return 'lost', f'what it promised is not there: {last_lines(text)}'
    return 'survived', ''


def last_lines(text: str, number: int = 4) -> str:
    """Return the end of an output in one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return ' / '.join(lines[-number:])[-600:]


def call(
    command: Command, cwd: Path, log: Path, timeout: float
) -> tuple[int, str]:
    """Run a tool in a process of its own.

    Returns:
        Its exit code, the negative signal if one ended it, and its output.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _be_the_tool(command, cwd, log)
    try:
        os.setpgid(pid, pid)
    except OSError:
        pass
    if command.during is not None:
        command.during(pid, log)
    code = _wait(pid, timeout)
    try:
        # Loader processes that are left.
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    text = log.read_text(errors='replace') if log.exists() else ''
    if code is None:
        return -signal.SIGKILL, f'{text}\n(did not end in {timeout:.0f} s)'
    return code, text


def _wait(pid: int, timeout: float) -> int | None:
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def _be_the_tool(command: Command, cwd: Path, log: Path) -> None:
    code = 1
    try:
        os.setpgid(0, 0)
        target = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o666)
        os.dup2(target, 1)
        os.dup2(target, 2)
        sys.stdout = os.fdopen(1, 'w', buffering=1, closefd=False)
        sys.stderr = os.fdopen(2, 'w', buffering=1, closefd=False)
        os.chdir(cwd)
        _bound_memory()
        if command.within is not None:
            command.within()
        path = TOOLS / f'{command.tool}.py'
        sys.argv = [str(path), *map(str, command.arguments)]
        runpy.run_path(str(path), run_name='__main__')
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
        if error.code is None:
            code = 0
        elif not isinstance(error.code, int):
            print(error.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def _bound_memory() -> None:
    pages = int(Path('/proc/self/statm').read_text().split()[0])
    limit = pages * resource.getpagesize() + _MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def listing(folder: Path) -> dict[str, str]:
    """Return what lies below a folder: hashes of files, targets of links."""
    found = {}
    for path in _walk(folder):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f'link to {os.readlink(path)}'
        elif path.is_dir():
            found[name] = 'folder'
        elif path.is_file():
            found[name] = hashlib.sha1(path.read_bytes()).hexdigest()
        else:
            found[name] = 'special'
    return found


def _walk(folder: Path) -> Iterator[Path]:
    for entry in os.scandir(folder):
        yield Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))


def lost(before: dict[str, str], folder: Path) -> list[tuple[str, str]]:
    """Return what is gone or changed since a listing.

    What is set aside whole, under another name, is not lost.
    """
    after = listing(folder)
    there = {after[name] for name in after if name not in before}
    return [
        (name, content)
        for name, content in before.items()
        if after.get(name) != content and content not in there
    ]


def _matches(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatch(path, pattern) for pattern in patterns)


def table(verdicts: Sequence[Verdict]) -> str:
    """Format how often what came of the cases, by area."""
    areas = list(dict.fromkeys(v.case.area for v in verdicts))
    lines = [
        '| hostile or malformed | tried | ' + ' | '.join(OUTCOMES) + ' |',
        '|---|' + '--:|' * (1 + len(OUTCOMES)),
    ]
    rows = [(area, [v for v in verdicts if v.case.area == area])
            for area in areas]  # fmt: skip
    for name, own in [*rows, ('**all**', list(verdicts))]:
        counts = [sum(v.outcome == o for v in own) for o in OUTCOMES]
        cells = ' | '.join(map(str, [len(own), *counts]))
        lines.append(f'| {name} | {cells} |')
    return '\n'.join(lines) + '\n'
