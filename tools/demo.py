"""Distil a small model on a few images, from nothing, on a CPU.

Draws the shapes set, trains a teacher, then the student alone, by KD and by
TST under the same schedule, exports the student, draws what the augmentation
does and what the policy has learned, and ends with a table. The models are
RetinaNets, PSPNets with ``--task seg``, or, on handwritten digits, ResNets
with ``--task cls``. Interrupted, it goes on where it was; done, it prints the
table again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import warnings
from pathlib import Path

from _demo_tasks import RUNS, TASKS, last_metrics, table
from _steps import Step, StepFailed, StepRunner

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'mmtst'
# The package beside this file, as in the steps, and not another installed one.
sys.path.insert(0, str(ROOT))
# mmengine asks setuptools for installed packages the old way.
warnings.filterwarnings('ignore', message='pkg_resources is deprecated')
from _arguments import output_folder, seed, setting, whole  # noqa: E402
from _common import resolve_models, run  # noqa: E402
from mmengine.config import Config, DictAction  # noqa: E402

from mmtst import __version__  # noqa: E402
from mmtst.engine import resume  # noqa: E402

DISTILLED = ('kd', 'tst')
EXPORTED = Path('exported/student.pth')
GRID = Path('augmentation/augmentation_0.png')
PLOTS = (Path('policy/policy_selected.png'), Path('policy/policy_all.png'))
FILES = {
    'exported student': EXPORTED,
    'its config': EXPORTED.with_suffix('.py'),
    'images before and after': GRID,
    'policy, selected operators': PLOTS[0],
    'policy, all operators': PLOTS[1],
    'policy, numbers': Path('tst/policy.jsonl'),
    'table': Path('results.json'),
}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--task',
        choices=TASKS,
        default='det',
        help='detection, segmentation or classification '
        '(default: %(default)s)',
    )
    for name, kind, text in (
        ('work_dir', output_folder, 'folder for all that is made'),
        ('num_train', whole(), 'training images'),
        ('num_val', whole(), 'validation images'),
        ('size', whole(32), 'side of the images in pixels'),
    ):
        defaults = (
            f'{t}: {getattr(v, name)}'
            for t, v in TASKS.items()
            if getattr(v, name) is not None
        )
        parser.add_argument(
            f'--{name.replace("_", "-")}',
            type=kind,
            help=f'{text} (default of {", ".join(defaults)})',
        )
    parser.add_argument('--seed', type=seed, default=0)
    cores = _cores()
    parser.add_argument(
        '--jobs',
        type=int,
        choices=(1, 2),
        default=min(2, cores),
        help='trainings at a time (default here: %(default)s)',
    )
    parser.add_argument(
        '--threads',
        type=whole(1, 4096),
        help='threads of each training (default: cores / jobs)',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        type=setting,
        default=[],
        metavar='KEY=VALUE',
        help='settings that replace those of every config',
    )
    parser.add_argument(
        '--tst-options',
        nargs='+',
        type=setting,
        default=[],
        metavar='KEY=VALUE',
        help='settings that replace those of the config for TST',
    )
    args = parser.parse_args(argv)
    for name in ('work_dir', 'num_train', 'num_val', 'size'):
        default = getattr(TASKS[args.task], name)
        if getattr(args, name) is None:
            setattr(args, name, default)
        elif default is None:
            parser.error(
                f'--{name.replace("_", "-")} is for the shapes set: the '
                f'images of --task {args.task} are what they are'
            )
    if args.threads is None:
        args.threads = max(1, cores // args.jobs)
    return args


def plan(args: argparse.Namespace) -> list[Step]:
    """Return all steps, in an order in which each follows what it needs."""
    work = Path(args.work_dir)
    data = work / 'data'
    tst = (
        _config(args.task, 'tst'),
        final_checkpoint(args, 'tst'),
        '--data-root',
        data,
    )
    code = _code()
    settings = {name: code + _settings(args, name) for name in RUNS}
    return [
        _data(args, data, code),
        *(_training(args, name, data, settings[name]) for name in RUNS),
        Step(
            'export',
            _tool('export_student', *tst[:2], work / EXPORTED, *tst[2:]),
            (work / EXPORTED).parent,
            ('tst',),
            'exports the student of TST',
            settings['tst'],
        ),
        Step(
            'browse',
            _tool(
                'browse_augmentation',
                tst[0],
                *tst[2:],
                f'--checkpoint={tst[1]}',
                f'--output-dir={(work / GRID).parent}',
            ),
            (work / GRID).parent,
            ('tst',),
            'draws images before and after the augmentation',
            settings['tst'],
        ),
        Step(
            'plot',
            _tool(
                'plot_policy',
                work / 'tst',
                f'--labels={TASKS[args.task].data}',
                f'--out-dir={(work / PLOTS[0]).parent}',
            ),
            (work / PLOTS[0]).parent,
            ('tst',),
            'plots the policy',
            code,
        ),
    ]


def final_checkpoint(args: argparse.Namespace, name: str) -> Path:
    """Return where the checkpoint at a run's end lies."""
    cfg = _read_config(args, name)
    return resume.final_checkpoint(cfg, Path(args.work_dir) / name)


def main(argv: list[str] | None = None) -> None:
    """Run what is still to be done, and print the table."""
    args = parse_args(argv)
    work = Path(args.work_dir)
    threads = str(args.threads)
    runner = StepRunner(
        work,
        args.jobs,
        {
            'OMP_NUM_THREADS': threads,
            'MKL_NUM_THREADS': threads,
            'PYTHONPATH': os.pathsep.join(
                filter(None, [str(ROOT), os.environ.get('PYTHONPATH')])
            ),
            'PYTHONWARNINGS': 'ignore',
        },
    )
    print(f'everything goes to {work}/, the full output to {work}/logs/')
    try:
        runner.run(plan(args))
        results = {name: last_metrics(work / name, args.task) for name in RUNS}
    except StepFailed as error:
        sys.exit(f'demo: {error}')
    except KeyboardInterrupt:
        sys.exit('demo: interrupted; the same command goes on from here')
    (work / 'results.json').write_text(json.dumps(results, indent=2) + '\n')
    print(f'\n{table(results)}\n')
    print('One run each, on few images: differences of a point are noise.\n')
    for title, name in FILES.items():
        print(f'{title:<30}{work / name}')


def _data(args: argparse.Namespace, data: Path, basis: str) -> Step:
    layout = TASKS[args.task].layout
    if layout == 'cifar':
        command = _tool('make_digits', data, f'--seed={args.seed}')
        title = 'writes the digits'
    else:
        command = _tool(
            'make_shapes',
            data,
            f'--num-train={args.num_train}',
            f'--num-val={args.num_val}',
            f'--size={args.size}',
            f'--seed={args.seed}',
            f'--layout={layout}',
        )
        title = 'draws the shapes set'
    return Step('data', command, data, title=title, basis=basis)


def _training(
    args: argparse.Namespace, name: str, data: Path, basis: str
) -> Step:
    options = [
        # Pictures this small load faster than they travel from a worker.
        'train_dataloader.num_workers=0',
        'train_dataloader.persistent_workers=False',
        'val_dataloader.num_workers=0',
        'val_dataloader.persistent_workers=False',
    ]
    needs = ['data']
    if name in DISTILLED:
        teacher = final_checkpoint(args, 'teacher')
        options.append(f'model.teacher_ckpt={teacher}')
        needs.append('teacher')
    options += args.cfg_options
    if name == 'tst':
        options += args.tst_options
    work_dir = Path(args.work_dir) / name
    command = _tool(
        'train',
        _config(args.task, name),
        '--data-root',
        data,
        '--work-dir',
        work_dir,
        '--resume',
        '--cfg-options',
        *options,
    )
    title = f'trains {RUNS[name]}'
    return Step(name, command, work_dir, tuple(needs), title, basis)


def _settings(args: argparse.Namespace, name: str) -> str:
    """Return a hash of a config, with its bases and models resolved."""
    cfg = _read_config(args, name)
    resolve_models(cfg)
    text = json.dumps(cfg.to_dict(), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _code() -> str:
    """Return a hash of the version and the files of the package.

    Which of them a step uses is not told apart: after an edit of any, all
    steps are run again.
    """
    files = sorted(
        path
        for path in PACKAGE.rglob('*')
        if path.is_file() and '__pycache__' not in path.parts
    )
    whole = hashlib.sha256(__version__.encode())
    for path in files:
        whole.update(str(path.relative_to(PACKAGE)).encode())
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def _read_config(args: argparse.Namespace, name: str) -> Config:
    file = _config(args.task, name)
    cfg = Config.fromfile(file, import_custom_modules=False)
    given = args.cfg_options + (args.tst_options if name == 'tst' else [])
    if given:
        parser = argparse.ArgumentParser()
        parser.add_argument('--options', nargs='+', action=DictAction)
        parsed = parser.parse_args(['--options', *given])
        cfg.merge_from_dict(parsed.options)
    return cfg


def _config(task: str, name: str) -> Path:
    return ROOT / 'configs' / 'demo' / task / f'{name}.py'


def _tool(name: str, *arguments: object) -> tuple[str, ...]:
    script = ROOT / 'tools' / f'{name}.py'
    return (sys.executable, str(script), *map(str, arguments))


def _cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


if __name__ == '__main__':
    run(main)
