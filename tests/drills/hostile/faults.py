"""Cases: side files, work dirs, and what happens while a training runs."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from hostile.annotations import data_of, train_on
from hostile.checkpoints import finished, train
from hostile.harness import Case, Command, Place, call

_SIDE, _FAULTS = 'side files and work dirs', 'faults while it runs'


def _go_on(place: Place, *options: object) -> Command:
    command = train(place, place.toys.distill, *options)
    return Command('train', [*command.arguments, '--resume'])


def _half(place: Place) -> None:
    """Make a work dir as a training leaves it after its first epoch."""
    place.work.mkdir()
    for name in ('epoch_1.pth', 'policy.jsonl', 'search_0.json'):
        shutil.copyfile(place.toys.run / name, place.work / name)
    (place.work / 'last_checkpoint').write_text(
        str(place.work / 'epoch_1.pth')
    )


def _beside(
    name: str, content: bytes | None | Callable[[Place, Path], object]
) -> Callable[[Place], Command]:
    """Return what resumes beside a file of other content.

    ``None`` stands for a folder with a file of the user's.
    """

    def prepare(place: Place) -> Command:
        _half(place)
        path = place.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        if content is None:
            path.mkdir()
            (path / 'mine.txt').write_text('of the user')
            # The folder is what stays, not what it is called.
            place.may_change = [p for p in place.may_change if p != name]
        elif callable(content):
            content(place, path)
        else:
            path.write_bytes(content)
        return _go_on(place)

    return prepare


def _link(target: str) -> Callable[[Place, Path], object]:
    return lambda place, path: path.symlink_to(place.home / target)


_DEEP = b'{"a":' * 100_000 + b'\n'
_DIGITS = b'{"iter": ' + b'9' * 5000 + b'}\n'
_RECORDS: dict[str, bytes | None] = {
    'bytes at random': bytes(range(256)) * 30,
    'a folder': None,
    'empty': b'',
    'no records': b'[1]\n3\n"x"\nnull\n{}\n',
    'records of nonsense': b'{"iter": "x", "search": [], "prob": 3}\n' * 3,
    'records with NaN': b'{"iter": NaN, "search": Infinity}\n',
    'nested without end': _DEEP,
    'numbers of 5000 digits': _DIGITS,
    'one line of megabytes': b'{"iter": 1, "x": "' + b'y' * 20_000_000,
    'zeros': bytes(5000),
}
_SIDE_FILES: dict[str, tuple[str, Any, str]] = {
    **{
        f'policy.jsonl: {name}': ('policy.jsonl', content, 'survived')
        for name, content in _RECORDS.items()
    },
    **{
        f'last_checkpoint: {name}': ('last_checkpoint', content, 'survived')
        for name, content in {
            'bytes at random': bytes(range(256)),
            'a folder': None,
            'empty': b'',
            'a file of the user': b'../precious/notes.txt',
            'a path of 9000 letters': b'a' * 9000,
        }.items()
    },
    'last_checkpoint: a link to a file of the user': (
        'last_checkpoint', _link('precious/notes.txt'), 'survived'
    ),
    'search_0.json: bytes at random': (
        'search_0.json', bytes(range(256)), 'survived'
    ),
    'search_0.json: a folder': ('search_0.json', None, 'either'),
    'scalars.json: bytes at random': (
        '20200101_000000/vis_data/scalars.json', bytes(range(256)),
        'survived',
    ),
    'scalars.json: nested without end': (
        '20200101_000000/vis_data/scalars.json', _DEEP, 'survived'
    ),
    'scalars.json: a folder': (
        '20200101_000000/vis_data/scalars.json', None, 'survived'
    ),
    'epoch_2.pth: a folder': ('epoch_2.pth', None, 'either'),
    'epoch_9.pth: a folder': ('epoch_9.pth', None, 'survived'),
    'epoch_9.pth: text': ('epoch_9.pth', b'Not found', 'survived'),
    'epoch_9.pth: a link to itself': (
        'epoch_9.pth', lambda place, path: path.symlink_to(path.name),
        'survived',
    ),
    'epoch_9.pth: a named pipe': (
        'epoch_9.pth', lambda place, path: os.mkfifo(path), 'survived'
    ),
    'epoch_2.pth: a link to a file of the user': (
        'epoch_2.pth', _link('precious/model.pth'), 'survived'
    ),
    '.epoch_2.pth.partial: a link to a file of the user': (
        '.epoch_2.pth.partial', _link('precious/model.pth'), 'survived'
    ),
    '.epoch_2.pth.partial: a folder': (
        '.epoch_2.pth.partial', None, 'either'
    ),
    'mine.partial: a file of the user': (
        '.thesis.partial', b'of the user', 'survived'
    ),
}  # fmt: skip


def _may_replace(name: str, prepare: Any) -> Any:
    def act(place: Place) -> Any:
        command = prepare(place)
        # A link that stands in a checkpoint's place may go.
        place.may_change += ['work/epoch_2.pth', 'work/epoch_1.pth']
        if name == 'thesis':
            place.may_change.remove('work/.*')
        return command

    return act


def _signals(place: Place, config: Any, word: str, number: int) -> Any:
    """Return a training that gets a signal, and what goes on from it."""
    command = train(place, config)
    first = Command(
        'train',
        command.arguments,
        during=when(word, lambda pid: os.kill(pid, number)),
    )
    return [first, Command('train', [*command.arguments, '--resume'])]


def when(
    word: str, act: Callable[[int], object]
) -> Callable[[int, Path], None]:
    """Return what acts as soon as the log says a word."""

    def during(pid: int, log: Path) -> None:
        while alive(pid):
            if log.exists() and word in log.read_text(errors='replace'):
                try:
                    act(pid)
                except ProcessLookupError:
                    pass
                return
            time.sleep(0.01)

    return during


def alive(pid: int) -> bool:
    """Say whether a child of this process still runs."""
    try:
        state = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2]
    except OSError:
        return False
    return state.split()[0] not in ('Z', 'X')


def _children(pid: int) -> list[int]:
    text = Path(f'/proc/{pid}/task/{pid}/children').read_text()
    return [int(word) for word in text.split()]


def without_rights() -> None:
    """Give up the right to pass over file permissions, as root has it."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    if libc.capset(header, data) != 0:
        raise OSError(ctypes.get_errno(), 'capset')


def bounded_files(size: int) -> Callable[[], None]:
    """Return what lets no file grow beyond a size, as a full disk does."""

    def act() -> None:
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

    return act


def _unbound(pid: int) -> None:
    hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))


def _module(place: Place, body: str, *options: str) -> list[Any]:
    """Write a hook of the user's; return the config that has it."""
    place.write(
        'user_hook.py',
        'import os\nfrom mmengine.hooks import Hook\n'
        'from mmengine.registry import HOOKS\n\n'
        '@HOOKS.register_module()\nclass UserHook(Hook):\n'
        "    priority = 'VERY_HIGH'\n" + body,
    )
    text = place.toys.distill.read_text()
    text = text.replace(
        'custom_hooks = [', "custom_hooks = [dict(type='UserHook'),"
    ).replace('\nmodel =', "\ncustom_imports = dict(imports=['mmtst', "
              "'user_hook'])\nmodel =", 1)  # fmt: skip
    config = place.write('c.py', text)
    arguments: list[Any] = [config, '--work-dir', 'work']
    if options:
        arguments += ['--cfg-options', *options]
    return arguments


def _hooked(body: str, *options: str) -> Callable[[Place], Command]:
    def prepare(place: Place) -> Command:
        home = str(place.home)
        return Command(
            'train',
            _module(place, body, *options),
            within=lambda: __import__('sys').path.insert(0, home),
        )

    return prepare


_NAN_SEARCH = """
    def before_train_epoch(self, runner):
        runner.model.objective.alpha = float('nan')
"""
_NAN_WEIGHT = """
    def after_train_iter(self, runner, batch_idx, **kwargs):
        parameter = next(runner.model.architecture.parameters())
        parameter.data.fill_(float('nan'))
"""
_NAN_TEACHER = """
    def before_train(self, runner):
        for parameter in runner.model.teacher.parameters():
            parameter.data.fill_(float('nan'))
"""
_REMOVED = """
    def before_train_epoch(self, runner):
        import shutil
        if runner.epoch == 1:
            shutil.rmtree(os.path.join(os.getcwd(), 'data'))
"""
_WORKERS = ('train_dataloader.num_workers=2',
            'train_dataloader.persistent_workers=True')  # fmt: skip


def _killed_worker(place: Place) -> Command:
    command = train(
        place, place.toys.distill, 'train_cfg.max_epochs=30', *_WORKERS
    )

    def kill(pid: int) -> None:
        os.kill(_children(pid)[0], signal.SIGKILL)

    return Command(
        'train', command.arguments, during=when('Epoch(train)', kill)
    )


def _full_disk(place: Place) -> Command:
    command = train(place, place.toys.distill)
    return Command(
        'train',
        command.arguments,
        within=bounded_files(1 << 20),
        during=when('could not be written', _unbound),
    )


def _limited(tool: str, size: int, *arguments: str) -> Any:
    def prepare(place: Place) -> Command:
        paths = {
            name: value
            for name, value in vars(place.toys).items()
            if name != 'values'
        }
        given = [argument.format(**paths) for argument in arguments]
        return Command(tool, given, within=bounded_files(size))

    return prepare


def _read_only(tool: str, folder: str, *arguments: str) -> Any:
    def prepare(place: Place) -> Command:
        (place.home / folder).mkdir()
        (place.home / folder).chmod(0o555)
        paths = {
            name: value
            for name, value in vars(place.toys).items()
            if name != 'values'
        }
        given = [argument.format(**paths) for argument in arguments]
        return Command(tool, given, within=without_rights)

    return prepare


def _unreadable(name: str) -> Callable[[Place], Command]:
    def prepare(place: Place) -> Command:
        (data_of(place) / name).chmod(0)
        command = train_on(place)
        return Command('train', command.arguments, within=without_rights)

    return prepare


def _unreadable_checkpoint(place: Place) -> Command:
    place.copy(place.toys.teacher, 'bad.pth').chmod(0)
    command = train(
        place, place.toys.distill, f'model.teacher_ckpt={place.bad}'
    )
    return Command('train', command.arguments, within=without_rights)


def _read_only_data(place: Place) -> Command:
    data = data_of(place)
    for path in [data, *data.rglob('*')]:
        path.chmod(path.stat().st_mode & ~0o222)
    command = train_on(place)
    return Command('train', command.arguments, within=without_rights)


def _full_device(name: str) -> Callable[[Place], Command]:
    def prepare(place: Place) -> Command:
        place.work.mkdir()
        (place.work / name).symlink_to('/dev/full')
        return train(place, place.toys.distill)

    return prepare


def _full_predictions(place: Place) -> Command:
    (place.home / 'p.pkl').symlink_to('/dev/full')
    words = ('{plain}', '{student}', '--work-dir', 'work', '--out', 'p.pkl')
    return cast(Command, _limited('test', -1, *words)(place))


def _second(place: Place) -> Command:
    """Start a second training in the work dir of the first."""
    command = train(place, place.toys.distill)
    log = place.folder / 'second.txt'

    def start(pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        code, text = call(command, place.home, log, 100)
        os.kill(pid, signal.SIGCONT)
        refused = code > 0 and 'Traceback' not in text and 'work' in text
        (place.folder / 'refused').write_text(str(refused))

    return Command(
        'train', command.arguments, during=when('Epoch(train)', start)
    )


def _was_refused(place: Place) -> bool:
    path = place.folder / 'refused'
    return path.exists() and path.read_text() == 'True' and finished(place)


def _killed(place: Place) -> list[Command]:
    return _signals(place, place.toys.distill, 'Epoch(train)', signal.SIGKILL)  # type: ignore[no-any-return]


def _ends(name: str) -> Callable[[Place], bool]:
    return lambda place: (place.work / name).is_file()


def cases() -> list[Case]:
    """Return them."""
    found = []
    for name, (file, content, expect) in _SIDE_FILES.items():
        kind = 'thesis' if 'mine' in name else ''
        found.append(
            Case(name, _SIDE, _may_replace(kind, _beside(file, content)),
                 expect, (file.split('/')[-1].replace('.', r'\.')
                          if expect == 'either' else '',),
                 check=finished)
        )  # fmt: skip
    found += [
        Case('a second training in the work dir', _SIDE, _second, 'survived',
             check=_was_refused),
        Case('a training killed before', _SIDE, _killed, 'survived',
             check=finished),
    ]  # fmt: skip
    for loop, config, unit, last in (
        ('epochs', 'distill', 'Epoch', 'epoch_2.pth'),
        ('iterations', 'iterations', 'Iter', 'iter_4.pth'),
    ):
        for moment, word in (
            ('in a step', f'{unit}(train)'),
            ('in a search', 'Policy search 1'),
            ('in a save', 'Saving checkpoint'),
            ('in a validation', f'{unit}(val)'),
        ):
            for number in (signal.SIGTERM, signal.SIGINT):

                def prepare(
                    place: Place,
                    config: str = config,
                    word: str = word,
                    number: int = number,
                ) -> Any:
                    own = getattr(place.toys, config)
                    place.may_change += ['work/*.pth']
                    return _signals(place, own, word, number)

                name = signal.Signals(number).name
                found.append(
                    Case(f'{name} {moment}, {loop}', _FAULTS, prepare,
                         'survived', check=_ends(last))
                )  # fmt: skip
        for workers in (0, 2):

            def with_workers(
                place: Place, config: str = config, workers: int = workers
            ) -> Command:
                own = getattr(place.toys, config)
                return train(
                    place, own, f'train_dataloader.num_workers={workers}'
                )

            found.append(
                Case(f'nothing wrong, {loop}, {workers} workers', _FAULTS,
                     with_workers, 'survived', check=_ends(last))
            )  # fmt: skip
    return found + [
        Case('a worker is killed', _FAULTS, _killed_worker, 'clear',
             ('worker',)),
        Case('disk full at a save', _FAULTS, _full_disk, 'survived',
             ('could not be written',), check=finished),
        Case('disk full at the last save', _FAULTS,
             _limited('train', 1 << 20, '{distill}', '--work-dir', 'work'),
             'clear', (r'epoch_2\.pth',)),
        Case('disk full at an export', _FAULTS,
             _limited('export_student', 1 << 16, '{distill}',
                      '{run}/epoch_1.pth', 'out.pth'),
             'clear', ('out',)),
        Case('disk full at the pictures', _FAULTS,
             _limited('browse_augmentation', 1 << 13, '{distill}', '--num',
                      '2'), 'clear', (r'augmentation_0\.png',)),
        Case('disk full at a data set', _FAULTS,
             _limited('make_shapes', 1 << 11, 'out', '--num-train', '4',
                      '--num-val', '2', '--size', '256'), 'clear', ('out',)),
        Case('disk full at the predictions', _FAULTS, _full_predictions,
             'clear', (r'p\.pkl',)),
        Case('disk full at the log of the policy', _FAULTS,
             _full_device('policy.jsonl'), 'either', (r'policy\.jsonl',)),
        Case('disk full at the report of a search', _FAULTS,
             _full_device('search_0.json'), 'either', (r'search_0\.json',)),
        Case('work dir is read-only', _FAULTS,
             _read_only('train', 'work', '{distill}', '--work-dir', 'work'),
             'clear', ('work',)),
        Case('work dir lies in a read-only folder', _FAULTS,
             _read_only('train', 'up', '{distill}', '--work-dir', 'up/w'),
             'clear', ('work-dir',)),
        Case('folder of checkpoints is read-only', _FAULTS,
             _read_only('train', 'up', '{distill}', '--work-dir', 'work',
                        '--cfg-options',
                        'default_hooks.checkpoint.out_dir=up'),
             'clear', ('up|out_dir',)),
        Case('folder of an export is read-only', _FAULTS,
             _read_only('export_student', 'up', '{distill}',
                        '{run}/epoch_1.pth', 'up/out.pth'), 'clear',
             ('up',)),
        Case('folder of pictures is read-only', _FAULTS,
             _read_only('browse_augmentation', 'up', '{distill}', '--num',
                        '1', '--output-dir', 'up'), 'clear', ('up',)),
        Case('folder of plots is read-only', _FAULTS,
             _read_only('plot_policy', 'up', '{run}', '--out-dir', 'up'),
             'clear', ('up',)),
        Case('folder of a data set is read-only', _FAULTS,
             _read_only('make_shapes', 'up', 'up/x'), 'clear', ('up',)),
        Case('folder of a prior is read-only', _FAULTS,
             _read_only('fit_prior', 'up', '--num', '2', '--num-judge', '2',
                        '--out', 'up/p.pth'), 'clear', ('up',)),
        Case('data are read-only', _FAULTS, _read_only_data, 'survived',
             check=finished),
        Case('annotations may not be read', _FAULTS,
             _unreadable('annotations/instances_train.json'), 'clear',
             (r'instances_train\.json',)),
        Case('an image may not be read', _FAULTS,
             _unreadable('train/000003.jpg'), 'clear', (r'000003\.jpg',)),
        Case('folder of images may not be read', _FAULTS,
             _unreadable('train'), 'clear', ('train',)),
        Case('a checkpoint may not be read', _FAULTS, _unreadable_checkpoint,
             'clear', (r'bad\.pth',)),
        Case('NaN inside a search', _FAULTS,
             _hooked(_NAN_SEARCH, 'custom_hooks.1.max_nonfinite=1'), 'clear',
             ('finite',)),
        Case('NaN inside a search, passed over', _FAULTS,
             _hooked(_NAN_SEARCH, 'custom_hooks.1.max_nonfinite=9'), 'named',
             ('finite',)),
        Case('NaN in a weight', _FAULTS, _hooked(_NAN_WEIGHT), 'clear',
             ('finite',)),
        Case('NaN in the teacher', _FAULTS, _hooked(_NAN_TEACHER), 'clear',
             ('finite|NaN',)),
        Case('a learning rate that diverges', _FAULTS,
             lambda p: train(p, p.toys.distill,
                             'optim_wrapper.optimizer.lr=1e30'), 'clear',
             ('finite',)),
    ]  # fmt: skip
