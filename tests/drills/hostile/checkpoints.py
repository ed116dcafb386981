"""Cases: checkpoints, and what they name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from hostile.files import BROKEN, HOSTILE, read
from hostile.harness import Case, Command, Place


def train(place: Place, config: Any, *options: object) -> Command:
    """Return a training in the case's work dir."""
    arguments = [config, '--work-dir', 'work']
    if options:
        arguments += ['--cfg-options', *options]
    return Command('train', arguments)


def _init(place: Place) -> Command:
    return train(
        place,
        place.toys.plain,
        'model.init_cfg.type=Pretrained',
        f'model.init_cfg.checkpoint={place.bad}',
    )


# By use: the tool's call, and the good file that is spoiled for it.
USES: dict[str, tuple[Callable[[Place], Command], str]] = {
    'teacher': (
        lambda p: train(p, p.toys.distill, f'model.teacher_ckpt={p.bad}'),
        'teacher',
    ),
    'load_from': (
        lambda p: train(p, p.toys.plain, f'load_from={p.bad}'),
        'student',
    ),
    'init_cfg': (_init, 'student'),
    'resume': (
        lambda p: Command(
            'train',
            [p.toys.distill, '--work-dir', 'work', '--resume', p.bad],
        ),
        'run',
    ),
    'test': (
        lambda p: Command('test', [p.toys.plain, p.bad, '--work-dir', 'work']),
        'student',
    ),
    'test the teacher': (
        lambda p: Command(
            'test',
            [p.toys.distill, p.bad, '--teacher', '--work-dir', 'work'],
        ),
        'teacher',
    ),
    'export': (
        lambda p: Command(
            'export_student', [p.toys.distill, p.bad, 'out/student.pth']
        ),
        'run',
    ),
    'browse': (
        lambda p: Command(
            'browse_augmentation',
            [p.toys.distill, '--checkpoint', p.bad, '--num', '2'],
        ),
        'run',
    ),
}
# Of each kind the uses that are tried; each use meets each way of reading.
_BROKEN_USES = {
    'cut short': ('teacher', 'resume', 'export'),
    'empty': ('load_from', 'test'),
    'bits flipped': ('teacher', 'browse'),
    'zip bomb': ('teacher', 'resume'),
    'billion laughs': ('teacher', 'export'),
    'refers to itself': ('resume', 'export'),
    'all weights NaN': ('teacher', 'load_from', 'resume', 'export', 'test'),
    'one weight NaN': ('teacher', 'load_from', 'resume', 'export'),
    'other shape': ('teacher', 'resume', 'export'),
    'no state dict': ('teacher', 'load_from', 'export', 'browse'),
    'state dict is empty': ('load_from', 'init_cfg', 'resume'),
    'head is missing': ('load_from', 'init_cfg', 'resume', 'test'),
    'a list': ('test the teacher', 'export'),
}
# What fits after all, or says nothing of weights.
_MAY_WORK = {
    'meta is a list', 'meta is a text', 'refers to itself',
    'whole numbers for weights', 'sparse weights',
    'zip of an old file', 'billion laughs', 'complex weights',
}  # fmt: skip
# Whoever fine-tunes has a head of his own; mmengine says what is missing.
_SAID = {('load_from', 'head is missing'), ('init_cfg', 'head is missing')}


def _good(place: Place, kind: str) -> Any:
    toys = place.toys
    return {
        'teacher': toys.teacher,
        'student': toys.student,
        'run': toys.run / 'epoch_1.pth',
    }[kind]


def _case(use: str, kind: str, write: Any, area: str, expect: Any) -> Case:
    call, good = USES[use]

    def prepare(place: Place) -> Command:
        write(place.bad, place.marker, _good(place, good))
        return call(place)

    if (use, kind) in _SAID:
        expect = 'named'
    return Case(f'{kind}, {use}', area, prepare, expect, (r'bad\.pth',))


def cases() -> list[Case]:
    """Return them."""
    hostile, broken = 'hostile checkpoints', 'broken checkpoints'
    uses = list(USES)
    found = [
        _case(use, 'os.system', HOSTILE['os.system'], hostile, 'clear')
        for use in uses
    ]
    for number, (kind, write) in enumerate(list(HOSTILE.items())[1:]):
        use = uses[number % len(uses)]
        found.append(_case(use, kind, write, hostile, 'clear'))
    for number, (kind, write) in enumerate(BROKEN.items()):
        own = _BROKEN_USES.get(kind, (uses[number * 3 % len(uses)],))
        expect = 'either' if kind in _MAY_WORK else 'clear'
        found += [_case(use, kind, write, broken, expect) for use in own]
    return found + _texts() + _named() + _states()


def resumed(
    change: Callable[[dict[str, Any], Place], Any],
    *options: object,
    config: str = 'distill',
    source: str = 'run',
) -> Callable[[Place], Command]:
    """Return what resumes from a changed checkpoint after one epoch."""

    def prepare(place: Place) -> Command:
        content = read(getattr(place.toys, source) / 'epoch_1.pth')
        result = change(content, place)
        place.work.mkdir()
        path = place.work / 'epoch_1.pth'
        torch.save(content if result is None else result, path)
        arguments: list[object] = [getattr(place.toys, config)]
        arguments += ['--work-dir', 'work', '--resume', path]
        if options:
            arguments += ['--cfg-options', *options]
        return Command('train', arguments)

    return prepare


def finished(place: Place) -> bool:
    """Say whether a training has left its last checkpoint, whole."""
    path = place.work / 'epoch_2.pth'
    return path.is_file() and read(path)['meta']['epoch'] == 2


def _texts() -> list[Case]:
    """Return cases of configs inside, which some would execute."""
    found = []
    for place_of in ('meta.config', 'meta.cfg', 'message_hub'):

        def change(
            content: dict[str, Any], place: Place, place_of: str = place_of
        ) -> None:
            text = f'open({str(place.marker)!r}, "w").close()'
            if place_of == 'message_hub':
                content['message_hub']['runtime_info']['cfg'] = text
            else:
                content['meta'][place_of.split('.')[1]] = text

        found.append(
            Case(
                f'code as {place_of}, resume',
                'hostile checkpoints',
                resumed(change),
                'survived',
                check=finished,
            )
        )
    return found


def _hub(name: str, value: Callable[[Place], Any]) -> Any:
    def change(content: dict[str, Any], place: Place) -> None:
        hub = content['message_hub']
        known = {'best_score': -1.0, name: value(place)}
        hub['runtime_info'].update(known)
        hub['resumed_keys'].update(dict.fromkeys(known, True))

    return change


def _precious(place: Place, name: str) -> str:
    return str(place.home / 'precious' / name)


_BEST: dict[str, Callable[[Place], Any]] = {
    'a file of the user': lambda p: _precious(p, 'notes.txt'),
    'a checkpoint elsewhere': lambda p: _precious(p, 'model.pth'),
    'a folder': lambda p: _precious(p, 'run'),
    'a relative path': lambda p: '../precious/notes.txt',
    'relative to home': lambda p: 'precious/notes.txt',
    'out of the work dir by dots': lambda p: str(
        p.work / '..' / 'precious' / 'notes.txt'
    ),
    'another run': lambda p: _precious(p, 'run/epoch_1.pth'),
    'the work dir itself': lambda p: str(p.work),
    'home': lambda p: str(p.home),
    'a user URL': lambda p: f'file://{_precious(p, "notes.txt")}',
    'nothing there': lambda p: '/no/such/file.pth',
    'a number': lambda p: 3,
    'a list': lambda p: [_precious(p, 'notes.txt')],
    'None': lambda p: None,
    'bytes': lambda p: _precious(p, 'notes.txt').encode(),
}
_IDS: dict[str, Any] = {
    'list(range(50))': list(range(50)),
    'True and False': [True, False],
    'texts': ['../precious/notes', '30'],
    'floats': [30.0, 1.5, float('nan')],
    'negative': [-1, -30],
    'huge': [10**30],
    'nested': [[30]],
    'a dict': {30: 30},
    'a text': '30',
    'None': None,
    'a number': 30,
}


def _named() -> list[Case]:
    """Return cases of what a checkpoint's message hub names."""
    area = 'what a checkpoint names'
    best = ('default_hooks.checkpoint.save_best=auto',)
    found = [
        Case(
            f'best_ckpt is {name}',
            area,
            _with_own(resumed(_hub('best_ckpt', value), *best)),
            'survived',
            check=finished,
        )
        for name, value in _BEST.items()
    ]

    def resumed_linked(place: Place) -> Command:
        link = place.work
        link.mkdir()
        (link / 'best.pth').symlink_to(_precious(place, 'model.pth'))
        change = _hub('best_ckpt', lambda p: str(p.work / 'best.pth'))
        content = read(place.toys.run / 'epoch_1.pth')
        change(content, place)
        torch.save(content, place.work / 'epoch_1.pth')
        return Command(
            'train',
            [place.toys.distill, '--work-dir', 'work', '--resume',
             '--cfg-options', *best],
        )  # fmt: skip

    # The link itself may go, what it names may not.
    found.append(
        Case(
            'best_ckpt is a link to a file of the user',
            area,
            _allowing(resumed_linked, 'work/best.pth'),
            'survived',
            check=finished,
        )
    )
    keep = ('default_hooks.checkpoint.max_keep_ckpts=1',)
    for key in ('outdated_ckpt_ids', 'keep_ckpt_ids'):
        for name, value in _IDS.items():
            found.append(
                Case(
                    f'{key} is {name}',
                    area,
                    _with_own(resumed(_hub(key, lambda p, v=value: v), *keep)),
                    'survived',
                    check=finished,
                )
            )
    for name, value in (
        ('a file of the user', lambda p: _precious(p, 'model.pth')),
        ('a folder', lambda p: _precious(p, 'run')),
        ('a number', lambda p: 3),
    ):
        found.append(
            Case(
                f'last_ckpt is {name}',
                area,
                resumed(_hub('last_ckpt', value), *keep),
                'survived',
                check=finished,
            )
        )
    return found


def _allowing(prepare: Any, *patterns: str) -> Any:
    def act(place: Place) -> Any:
        place.may_change += patterns
        return prepare(place)

    return act


def _with_own(prepare: Any) -> Any:
    """Put checkpoints of other runs of the user into the work dir."""

    def act(place: Place) -> Any:
        command = prepare(place)
        for number in (7, 30):
            (place.work / f'epoch_{number}.pth').write_bytes(b'of the user')
        # Its own, which it may prune.
        place.may_change.append('work/epoch_1.pth')
        return command

    return act


def _set(path: str, value: Any) -> Callable[[dict[str, Any], Place], None]:
    def change(content: dict[str, Any], place: Place) -> None:
        node: Any = content
        *parts, last = path.split('/')
        for part in parts:
            node = node[int(part) if part.isdigit() else part]
        if value is _GONE:
            del node[last]
        else:
            node[int(last) if last.isdigit() else last] = value

    return change


_GONE = object()
_NAN = float('nan')
_STATES: list[tuple[str, Any, tuple[str, ...]]] = [
    *(
        (f'state_dict/augmentation.{name}', value, (name,))
        for name in ('th_p', 'th_m')
        for value in (
            torch.zeros(3),
            torch.full((14 if name == 'th_p' else 11,), _NAN),
            torch.full((14 if name == 'th_p' else 11,), float('inf')),
            torch.zeros(14 if name == 'th_p' else 11, dtype=torch.complex64),
            'a text',
            None,
            _GONE,
        )
    ),
    *(
        ('optimizer', value, ('optimi[sz]er',))
        for value in (None, [], 'sgd', {}, {'state': 3, 'param_groups': 4},
                      {'state': {}, 'param_groups': []}, _GONE)
    ),
    ('optimizer/param_groups/0/lr', _NAN, ('lr|learning rate',)),
    ('optimizer/param_groups/0/lr', 'fast', ('lr|learning rate',)),
    ('optimizer/param_groups/0/params', [0], ('optimi[sz]er',)),
    ('optimizer/state/0', {'momentum_buffer': torch.zeros(2)},
     ('optimi[sz]er',)),
    *(
        ('param_schedulers', value, ('scheduler',))
        for value in (None, [], 'cosine', [3], [{}], {'a': []}, _GONE)
    ),
    ('param_schedulers/0/last_step', _NAN, ('scheduler',)),
    ('param_schedulers/0/last_step', -5, ('scheduler',)),
    ('param_schedulers/0/last_step', 'three', ('scheduler',)),
    ('param_schedulers/0/base_values', [_NAN], ('scheduler',)),
    ('param_schedulers/0/base_values', [], ('scheduler',)),
    ('param_schedulers/0/milestones', 3, ('scheduler',)),
    *(
        ('meta/epoch', value, ('epoch|iter|stood',))
        for value in (-1, 'one', 1.5, None, True, [1], 10**30, _GONE)
    ),
    *(
        ('meta/iter', value, ('epoch|iter|stood',))
        for value in (-2, 'two', _NAN, 3, 10**30)
    ),
    *(
        ('meta', value, ('meta|iter|stood',))
        for value in (None, [], 'x', {}, _GONE)
    ),
    *(
        ('state_dict', value, ('epoch_1|state_dict',))
        for value in (None, [], 'x', _GONE)
    ),
]  # fmt: skip
# Of no use to a training, so that it may go on without.
_LOGS: list[tuple[str, Any]] = [
    ('message_hub', None),
    ('message_hub', []),
    ('message_hub', 'hub'),
    ('message_hub', {}),
    ('message_hub', _GONE),
    ('message_hub/log_scalars', {'train/loss': 3}),
    ('message_hub/log_scalars', 'x'),
    ('message_hub/runtime_info', [3]),
    ('message_hub/resumed_keys', None),
    ('meta/seed', 'seven'),
    ('meta/experiment_name', 5),
    ('meta/dataset_meta', {'classes': ('a', 'b')}),
    ('exact_resume', 'nonsense'),
]


def _states() -> list[Case]:
    """Return cases of what is resumed."""
    area = 'resume states'
    found = []
    for path, value, words in _STATES:
        shown = 'missing' if value is _GONE else f'{value!r:.40}'
        change = _set(path, value)
        # Of finite numbers torch takes those of another kind.
        found.append(
            Case(f'{path} is {shown}', area, resumed(change), 'clear', words)
        )
    for path, value in _LOGS:
        shown = 'missing' if value is _GONE else f'{value!r:.40}'
        found.append(
            Case(
                f'{path} is {shown}',
                area,
                resumed(_set(path, value)),
                'either',
                (path.split('/')[-1] + '|epoch_1',),
                check=finished,
            )
        )
    found += [
        Case(
            'beyond the end of the training',
            area,
            resumed(_beyond),
            'named',
            ('nothing|the end|ended',),
        ),
        Case(
            'of a plain training',
            area,
            resumed(lambda c, p: None, source='plain_run'),
            'named',
            ('plain|teacher|distill|augmentation|architecture|student',),
        ),
        Case(
            'of a distillation into a plain training',
            area,
            resumed(lambda c, p: None, config='plain'),
            'named',
            ('architecture|student|distill',),
        ),
        Case(
            'of another student',
            area,
            resumed(_narrower),
            'clear',
            ('epoch_1|conv1',),
        ),
    ]
    return found


def _beyond(content: dict[str, Any], place: Place) -> None:
    content['meta'].update(epoch=50, iter=100)


def _narrower(content: dict[str, Any], place: Place) -> None:
    weights = content['state_dict']
    for name, value in weights.items():
        if name.startswith('architecture.') and value.dim():
            weights[name] = value[: len(value) // 2 or 1]
