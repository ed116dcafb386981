"""Cases: arguments of every tool, and configs that are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hostile.harness import TOOLS, Case, Command, Place


def _tool(
    tool: str, *arguments: Any, files: dict[str, Any] | None = None
) -> Callable[[Place], Command]:
    """Return a call; ``{name}`` in an argument is a path of the toys.

    Of ``files`` ``None`` stands for a folder.
    """

    def prepare(place: Place) -> Command:
        for name, content in (files or {}).items():
            if content is None:
                (place.home / name).mkdir(parents=True)
            else:
                place.write(name, content)
        paths = {
            name: value
            for name, value in vars(place.toys).items()
            if name != 'values'
        }
        return Command(
            tool, [str(argument).format(**paths) for argument in arguments]
        )

    return prepare


_WORK = ('--work-dir', 'work')
_CONFIGS: dict[str, Any] = {
    'missing': None,
    'a folder': {'c.py': None},
    'empty': {'c.py': ''},
    'bytes at random': {'c.py': bytes(range(256))},
    'no python': {'c.py': 'model = dict('},
    'raises': {'c.py': 'raise ValueError("no")'},
    'divides by zero': {'c.py': 'x = 1 / 0'},
    'exits': {'c.py': 'import sys\nsys.exit(0)'},
    'takes itself for its base': {'c.py': "_base_ = './c.py'"},
    'takes a missing base': {'c.py': "_base_ = './gone.py'"},
    'imports what is not there': {
        'c.py': "custom_imports = dict(imports=['nothing_there'])"
    },
    'has no model': {'c.py': 'x = 1'},
    'has a model that is a text': {'c.py': "model = 'retinanet'"},
    'is JSON cut short': {'c.json': '{"model": '},
    'is a list in YAML': {'c.yaml': '- 1\n- 2\n'},
    'is text': {'c.txt': 'model = 1'},
}
_OF_TRAINING: dict[str, tuple[str, ...]] = {
    'no train_dataloader': ('train_dataloader=None',),
    'no optim_wrapper': ('optim_wrapper=None',),
    'no train_cfg': ('train_cfg=None',),
    'max_epochs=0': ('train_cfg.max_epochs=0',),
    'max_epochs=-1': ('train_cfg.max_epochs=-1',),
    'max_epochs=x': ('train_cfg.max_epochs=x',),
    'batch_size=0': ('train_dataloader.batch_size=0',),
    'num_workers=-1': ('train_dataloader.num_workers=-1',),
    'no seed': ('randomness.seed=None',),
    'seed=x': ('randomness.seed=x',),
}
_ARGUMENTS: dict[str, tuple[Callable[[Place], Command], tuple[str, ...]]] = {
    'train: unknown argument': (
        _tool('train', '{plain}', '--wrk-dir', 'x'), ('wrk-dir',)
    ),
    'train: no config': (_tool('train'), ('config',)),
    'train: work dir is a file': (
        _tool('train', '{plain}', *_WORK, files={'work': 'mine'}), ('work',)
    ),
    'train: work dir below a file': (
        _tool('train', '{plain}', '--work-dir', 'a/b', files={'a': 'mine'}),
        ('work-dir',),
    ),
    'train: an option without a value': (
        _tool('train', '{plain}', *_WORK, '--cfg-options', 'model'),
        ('model|cfg-options',),
    ),
    'train: an option below a number': (
        _tool('train', '{plain}', *_WORK, '--cfg-options',
              'train_cfg.max_epochs.x=3'), ('max_epochs',)
    ),
    'train: an option of a list that is not there': (
        _tool('train', '{plain}', *_WORK, '--cfg-options',
              'train_pipeline.99.prob=3'), ('99',)
    ),
    'train: --resume names a folder': (
        _tool('train', '{plain}', *_WORK, '--resume', 'old',
              files={'old': None}), ('old',)
    ),
    'train: --resume names nothing': (
        _tool('train', '{plain}', *_WORK, '--resume', 'gone.pth'), ('gone',)
    ),
    'train: data root is not there': (
        _tool('train', '{plain}', *_WORK, '--data-root', 'gone'), ('gone',)
    ),
    'train: unknown launcher': (
        _tool('train', '{plain}', '--launcher', 'rocket'), ('rocket',)
    ),
    'train: --amp without a GPU': (
        _tool('train', '{plain}', *_WORK, '--amp'), ('amp',)
    ),
    'test: no checkpoint': (_tool('test', '{plain}'), ('checkpoint',)),
    'test: checkpoint is a folder': (
        _tool('test', '{plain}', 'x.pth', files={'x.pth': None}), ('x.pth',)
    ),
    'test: --out is no pickle': (
        _tool('test', '{plain}', '{student}', *_WORK, '--out', 'a.txt'),
        ('--out',),
    ),
    'test: --out is a folder': (
        _tool('test', '{plain}', '{student}', *_WORK, '--out', 'a.pkl',
              files={'a.pkl': None}), ('a.pkl',)
    ),
    'test: --out below a file': (
        _tool('test', '{plain}', '{student}', *_WORK, '--out', 'a/b.pkl',
              files={'a': 'mine'}), ('--out',)
    ),
    'test: --show-dir is a file': (
        _tool('test', '{plain}', '{student}', *_WORK, '--show-dir', 'a',
              files={'a': 'mine'}), ('show-dir|a',)
    ),
    'test: --teacher of a plain config': (
        _tool('test', '{plain}', '--teacher'), ('teacher',)
    ),
    'test: --wait-time=soon': (
        _tool('test', '{plain}', '{student}', '--wait-time', 'soon'),
        ('wait-time',),
    ),
    'export: out is no .pth': (
        _tool('export_student', '{distill}', '{run}/epoch_1.pth', 'a.txt'),
        ('out',),
    ),
    'export: out is a folder': (
        _tool('export_student', '{distill}', '{run}/epoch_1.pth', 'a.pth',
              files={'a.pth': None}), ('a.pth',)
    ),
    'export: the config is a folder': (
        _tool('export_student', '{distill}', '{run}/epoch_1.pth', 'a.pth',
              files={'a.py': None}), ('a.py',)
    ),
    'export: out below a file': (
        _tool('export_student', '{distill}', '{run}/epoch_1.pth', 'a/b.pth',
              files={'a': 'mine'}), ('a/b|a',)
    ),
    'export: checkpoint is not there': (
        _tool('export_student', '{distill}', 'gone.pth', 'a.pth'), ('gone',)
    ),
    **{
        f'browse: {name}': (
            _tool('browse_augmentation', '{distill}', *given),
            (name.strip(),),
        )
        for name, given in {
            '--num': ('--num', '0'),
            '--num ': ('--num', '-3'),
            '--num  ': ('--num', 'many'),
            '--probability': ('--probability', '2'),
            '--probability ': ('--probability', 'nan'),
            '--strength': ('--strength', '-1'),
            '--seed': ('--seed', '-1'),
            '--seed ': ('--seed', '99999999999999999999999'),
            '--operators': ('--operators', 'melt'),
            '--policy': ('--policy', 'gone.json'),
            '--checkpoint': ('--checkpoint', '{teacher}'),
        }.items()
    },
    'browse: --output-dir is a file': (
        _tool('browse_augmentation', '{distill}', '--num', '1',
              '--output-dir', 'a', files={'a': 'mine'}), ('output-dir|a',)
    ),
    'browse: --policy is a folder': (
        _tool('browse_augmentation', '{distill}', '--policy', 'a',
              files={'a': None}), ('policy|a',)
    ),
    **{
        f'fit_prior: {" ".join(given)}': (
            _tool('fit_prior', '--num', '2', '--num-judge', '2', '--out',
                  'out/p.pth', *given, files={'a': 'mine', 'f': None}),
            (word,),
        )
        for given, word in (
            (('--num', '0'), 'num'),
            (('--num', '-5'), 'num'),
            (('--num-judge', '0'), 'num-judge|num'),
            (('--side', '0'), 'side'),
            (('--side', '-32'), 'side'),
            (('--side', 'x'), 'side'),
            (('--seed', '-1'), 'seed'),
            (('--images', 'gone'), 'gone|images'),
            (('--images', 'f'), 'images|f'),
            (('--images', 'a'), 'images|a'),
            (('--images', 'f:0'), 'f:0'),
            (('--images', 'f:x'), 'f:x'),
            (('--judge', 'noname'), 'judge'),
            (('--judge', 'x=gone'), 'gone|judge'),
            (('--network', 'deep'), 'network'),
            (('--out', 'f'), 'f'),
            (('--out', 'a/p.pth'), 'a/p|a'),
            (('--docs', 'gone.md'), 'gone'),
        )
    },
    **{
        f'make_shapes: {" ".join(given)}': (
            _tool('make_shapes', *given, files={'a': 'mine'}), (word,)
        )
        for given, word in (
            (('out', '--num-train', '0'), 'num.train'),
            (('out', '--num-train', '-1'), 'num.train'),
            (('out', '--num-val', '0'), 'num.val'),
            (('out', '--size', '0'), 'size'),
            (('out', '--size', '1', '--num-train', '1'), 'size'),
            (('out', '--size', '-64'), 'size'),
            (('out', '--seed', '-1'), 'seed'),
            (('out', '--layout', 'voc'), 'layout'),
            (('a',), 'a'),
            (('a/b',), 'a'),
            (('precious',), 'precious'),
        )
    },
    'make_digits: out is a file': (
        _tool('make_digits', 'a', files={'a': 'mine'}), ('a',)
    ),
    'make_digits: out has files': (
        _tool('make_digits', 'precious'), ('precious',)
    ),
    'make_digits: --seed -1': (
        _tool('make_digits', 'out', '--seed', '-1'), ('seed',)
    ),
    'plot_policy: no file': (_tool('plot_policy', 'gone'), ('gone',)),
    'plot_policy: an empty folder': (
        _tool('plot_policy', 'f', files={'f': None}), ('f',)
    ),
    'plot_policy: an empty file': (
        _tool('plot_policy', 'p.jsonl', files={'p.jsonl': ''}), ('p.jsonl',)
    ),
    'plot_policy: bytes at random': (
        _tool('plot_policy', 'p.jsonl',
              files={'p.jsonl': bytes(range(256))}), ('p.jsonl',)
    ),
    'plot_policy: other records': (
        _tool('plot_policy', 'p.jsonl', files={'p.jsonl': '{"a": 1}\n'}),
        ('p.jsonl',),
    ),
    'plot_policy: records of nonsense': (
        _tool('plot_policy', 'p.jsonl',
              files={'p.jsonl': '{{"search": "x", "step": [], "prob": 3}}\n'
                     .replace('{{', '{').replace('}}', '}')}),
        ('p.jsonl',),
    ),
    'plot_policy: labels too few': (
        _tool('plot_policy', '{run}', '{run}', '--labels', 'one'),
        ('labels',),
    ),
    'plot_policy: an unknown operator': (
        _tool('plot_policy', '{run}', '--operators', 'melt'), ('melt',)
    ),
    'plot_policy: --out-dir is a file': (
        _tool('plot_policy', '{run}', '--out-dir', 'a', files={'a': 'mine'}),
        ('out-dir|a',),
    ),
    'print_config: --save-path is a folder': (
        _tool('print_config', '{plain}', '--save-path', 'f',
              files={'f': None}), ('save-path|f',)
    ),
    'print_config: --save-path below a file': (
        _tool('print_config', '{plain}', '--save-path', 'a/c.py',
              files={'a': 'mine'}), ('save-path|a',)
    ),
    'print_config: --save-path is no config': (
        _tool('print_config', '{plain}', '--save-path', 'c.txt'),
        ('save-path|c.txt',),
    ),
    'list_ablations: an unknown table': (
        _tool('list_ablations', '--table', '99'), ('table',)
    ),
    'demo: an unknown task': (_tool('demo', '--task', 'nlp'), ('task',)),
    'demo: --jobs 0': (_tool('demo', '--jobs', '0'), ('jobs',)),
    'demo: --threads 0': (_tool('demo', '--threads', '0'), ('threads',)),
}  # fmt: skip
_CHECKED = {
    'check_data: no config': (_tool('check_data', 'gone.py'), ('gone',)),
}


def cases() -> list[Case]:
    """Return them."""
    found = []
    for name, files in _CONFIGS.items():
        file = next(iter(files or {'c.py': None}))
        prepare = _tool('train', file, *_WORK, files=files)
        words = (file.replace('.', r'\.') + '|model|custom_imports',)
        found.append(
            Case(f'config {name}', 'arguments of tools', prepare, 'clear',
                 words)
        )  # fmt: skip
    for tool in ('test', 'print_config', 'browse_augmentation'):
        given = ['x.pth'] if tool == 'test' else []
        prepare = _tool(
            tool, 'c.py', *given, files={'c.py': bytes(range(256))}
        )
        found.append(
            Case(f'{tool}: config of bytes at random', 'arguments of tools',
                 prepare, 'clear', (r'c\.py',))
        )  # fmt: skip
    for name, options in _OF_TRAINING.items():
        prepare = _tool(
            'train', '{distill}', *_WORK, '--cfg-options', *options
        )
        word = options[0].partition('=')[0].split('.')[-1]
        found.append(
            Case(f'config with {name}', 'options', prepare, 'clear', (word,))
        )
    arguments = dict(_ARGUMENTS)
    if (TOOLS / 'check_data.py').is_file():
        arguments |= _CHECKED
    # What a tool does not refuse it may do for long.
    return found + [
        Case(name, 'arguments of tools', prepare, 'clear', words, timeout=60.0)
        for name, (prepare, words) in arguments.items()
    ]
