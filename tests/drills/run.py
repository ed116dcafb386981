"""Run the long fault drill, and write its table into the docs.

    python tests/drills/run.py [--kills 50] [--work-dir work_dirs/drill]
        [--out docs/en/reliability.md]

Kills trainings of every variant (epochs and iterations; 0, 2 and 2 persistent
workers) at random moments, resumes them, and compares what they end with to
a training that was never stopped, bit for bit. Then it fills the disk, cuts
checkpoints short, flips their bytes, and breaks annotations and images.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from trainings import MOMENTS, ROOT, VARIANTS, Training, Variant, differences

from mmtst.datasets import ShapesSettings, write_shapes
from mmtst.engine.resume import find_checkpoint

MARKS = ('<!-- drill -->\n', '<!-- end of drill -->\n')
SURVIVED = {
    'kill': 'resumed; student, policy, optimizer and schedulers bit for bit '
    'those of a training that was never stopped',
    'disk': 'training goes on, checkpoints before stay; ends with the same',
    'checkpoint': 'left out by name, the one before resumed; ends with the '
    'same',
    'refused': 'refused before the training, by name',
    'hostile': 'what it carries does not run; refused, by name',
}


class Drill:
    """Try faults, and count them.

    Args:
        folder: Of data and trainings.
        seed: Of the moments.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.rng = random.Random(seed)
        self.data = folder / 'shapes'
        self.rows: dict[str, list[int]] = {}
        self.survival: dict[str, str] = {}
        self.whole: dict[bool, dict[str, Any]] = {}
        self.count = 0
        write_shapes(self.data, ShapesSettings(24, 6, 64, seed=5))

    def expected(self, variant: Variant) -> dict[str, Any]:
        """Return what an uninterrupted training of a loop ends with."""
        if variant.by_epoch not in self.whole:
            training = self.training(Variant(variant.by_epoch))
            training.finish()
            self.whole[variant.by_epoch] = training.result()
        return self.whole[variant.by_epoch]

    def training(self, variant: Variant) -> Training:
        """Return a training in a work dir of its own."""
        self.count += 1
        return Training(variant, self.data, self.folder / f'run_{self.count}')

    def note(self, fault: str, kind: str, survived: bool) -> None:
        """Count one fault, and say what came of it."""
        row = self.rows.setdefault(fault, [0, 0])
        self.survival[fault] = SURVIVED[kind]
        row[0] += 1
        row[1] += survived
        word = 'survived' if survived else 'NOT SURVIVED'
        print(f'{time.strftime("%H:%M:%S")} {fault}: {word}', flush=True)

    def compare(self, training: Training) -> bool:
        """Finish a training; say whether it ends as the uninterrupted one."""
        training.finish()
        found = differences(self.expected(training.variant), training.result())
        shutil.rmtree(training.work_dir)
        if found:
            print(f'differences: {found[:5]}', flush=True)
        return not found

    def kills(self, number: int) -> None:
        """Kill trainings, a few times each, until ``number`` have struck."""
        struck = 0
        moments = itertools.cycle(MOMENTS)
        for variant in itertools.cycle(VARIANTS):
            if struck >= number:
                return
            training = self.training(variant)
            times = [next(moments) for _ in range(3)]
            hit = [m for m in times if training.kill(m, self.rng)]
            struck += len(hit)
            same = self.compare(training)
            for moment in hit:
                self.note(f'SIGKILL {moment} ({variant})', 'kill', same)

    def full_disk(self, variant: Variant) -> None:
        """Let the second checkpoint meet a disk with no room."""
        training = self.training(variant)
        name = 'epoch_2.pth' if variant.by_epoch else 'iter_8.pth'
        process = training.start()
        lines = []
        for line in process.stdout or ():
            lines.append(line)
            if 'Saving checkpoint at' in line and len(lines) > 1:
                part = training.work_dir / f'.{name}.partial'
                if not part.is_symlink() and not part.exists():
                    part.symlink_to('/dev/full')
                break
        rest, _ = process.communicate(timeout=600)
        text = ''.join(lines) + rest
        said = f'{name} could not be written' in text
        self.note(
            'disk full at a save', 'disk', said and self.compare(training)
        )

    def broken_checkpoint(
        self, fault: str, spoil: Callable[[Path], None]
    ) -> None:
        """Spoil the newest checkpoint of a killed training."""
        training = self.training(Variant(by_epoch=True))
        while len(list(training.work_dir.glob('*.pth'))) < 2:
            training.kill('during a save', self.rng)
        path = find_checkpoint(training.work_dir).path
        if path is None:
            raise RuntimeError(f'{training.work_dir}: no whole checkpoint')
        spoil(path)
        same = self.compare(training)
        said = f'left out {path}' in ''.join(training.output)
        self.note(fault, 'checkpoint', same and said)

    def hostile_teacher(self) -> None:
        """Hand over a teacher's checkpoint that runs a command."""
        training = self.training(Variant(by_epoch=True))
        canary = self.folder / 'canary_teacher'
        path = self.folder / 'hostile.pth'
        torch.save({'state_dict': {}, 'more': Hostile(canary)}, path)
        training.options = (
            'model.untrained_teacher=False',
            f'model.teacher_ckpt={path}',
        )
        process = training.start()
        text, _ = process.communicate(timeout=600)
        refused = process.returncode == 1 and 'system' in text
        refused = refused and 'Traceback' not in text
        self.note(
            'hostile checkpoint as teacher',
            'hostile',
            refused and not canary.exists(),
        )

    def hostile_resume(self) -> None:
        """Put a checkpoint that runs a command where a training resumes."""
        training = self.training(Variant(by_epoch=True))
        canary = self.folder / 'canary_resume'
        training.work_dir.mkdir(parents=True)
        path = training.work_dir / 'epoch_3.pth'
        meta = {'epoch': 3, 'iter': 18}
        content = {'meta': meta, 'state_dict': {}, 'more': Hostile(canary)}
        torch.save(content, path)
        same = self.compare(training)
        said = f'left out {path}' in ''.join(training.output)
        self.note(
            'hostile checkpoint as the newest to resume from',
            'hostile',
            same and said and not canary.exists(),
        )

    def broken_data(self, fault: str, spoil: Callable[[Path], Path]) -> None:
        """Spoil a copy of the data; the training has to refuse it."""
        data = self.folder / f'broken_{self.count}'
        shutil.copytree(self.data, data)
        place = spoil(data)
        training = self.training(Variant(by_epoch=True))
        training.data = data
        process = training.start()
        text, _ = process.communicate(timeout=600)
        refused = process.returncode == 1 and 'Traceback' not in text
        named = place.name in text and 'Epoch(train)' not in text
        self.note(fault, 'refused', refused and named)


class Hostile:
    """Run a shell command when it is unpickled.

    Args:
        canary: File that the command makes.
    """

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        """Name the command as the way to build this object."""
        return os.system, (f'touch {self.canary}',)


def cut_short(path: Path) -> None:
    """Leave the first half of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def empty(path: Path) -> None:
    """Leave nothing of a file."""
    path.write_bytes(b'')


def flip(path: Path) -> None:
    """Overwrite the directory at the end of an archive."""
    content = bytearray(path.read_bytes())
    content[-600:] = bytes(byte ^ 0x55 for byte in content[-600:])
    path.write_bytes(bytes(content))


def _spoil_annotations(
    change: Callable[[dict[str, Any]], Any],
) -> Callable[[Path], Path]:
    def spoil(data: Path) -> Path:
        path = data / 'annotations' / 'instances_train.json'
        path.write_text(json.dumps(change(json.loads(path.read_text()))))
        return path

    return spoil


def _cut_annotations(data: Path) -> Path:
    path = data / 'annotations' / 'instances_train.json'
    cut_short(path)
    return path


def _spoil_image(spoil: Callable[[Path], None]) -> Callable[[Path], Path]:
    def act(data: Path) -> Path:
        path = sorted((data / 'train').iterdir())[3]
        spoil(path)
        return path

    return act


DATA_FAULTS: dict[str, Callable[[Path], Path]] = {
    'annotation file cut short': _cut_annotations,
    'annotation file without annotations': _spoil_annotations(
        lambda content: {**content, 'annotations': []}
    ),
    'annotation with a box of three numbers': _spoil_annotations(
        lambda content: {
            **content,
            'annotations': [
                {**content['annotations'][0], 'bbox': [1, 2, 3]},
                *content['annotations'][1:],
            ],
        }
    ),
    'annotation file that is a list': _spoil_annotations(
        lambda content: content['annotations']
    ),
    'image missing': _spoil_image(Path.unlink),
    'image empty': _spoil_image(empty),
}


def tables(rows: dict[str, list[int]], survival: dict[str, str]) -> str:
    """Format how often each fault was tried and survived.

    Args:
        rows: Times tried and survived, by fault.
        survival: What survived means, by fault.
    """
    lines = ['| SIGKILL | ' + ' | '.join(map(str, VARIANTS)) + ' |']
    lines += ['|---|' + '--:|' * len(VARIANTS)]
    for moment in MOMENTS:
        cells = [
            '{1} of {0}'.format(*rows[name]) if name in rows else '-'
            for name in (f'SIGKILL {moment} ({v})' for v in VARIANTS)
        ]
        lines.append(f'| {moment} | ' + ' | '.join(cells) + ' |')
    kills = [row for name, row in rows.items() if name.startswith('SIGKILL')]
    lines += [
        '',
        f'{sum(row[1] for row in kills)} of {sum(row[0] for row in kills)} '
        f'killed trainings survived: {SURVIVED["kill"]}.',
        '',
        '| fault | survived | what that means |',
        '|---|--:|---|',
    ]
    for name, (tried, survived) in rows.items():
        if not name.startswith('SIGKILL'):
            lines.append(
                f'| {name} | {survived} of {tried} | {survival[name]} |'
            )
    return '\n'.join(lines) + '\n'


def write_tables(text: str, out: Path) -> None:
    """Put tables between their marks in a Markdown page."""
    page = out.read_text()
    head, rest = page.split(MARKS[0])
    _, tail = rest.split(MARKS[1])
    out.write_text(f'{head}{MARKS[0]}{text}{MARKS[1]}{tail}')


def main() -> None:
    """Run all of it; end with an error if anything was not survived."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--kills', type=int, default=50)
    parser.add_argument('--work-dir', type=Path, default='work_dirs/drill')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--out', type=Path, default=ROOT / 'docs' / 'en' / 'reliability.md'
    )
    args = parser.parse_args()
    began = time.monotonic()
    drill = Drill(args.work_dir.resolve(), args.seed)
    for fault, spoil in DATA_FAULTS.items():
        drill.broken_data(fault, spoil)
    for variant in (Variant(True), Variant(False)):
        drill.full_disk(variant)
    drill.broken_checkpoint('newest checkpoint cut short', cut_short)
    drill.broken_checkpoint('newest checkpoint empty', empty)
    drill.broken_checkpoint('newest checkpoint with flipped bytes', flip)
    drill.hostile_teacher()
    drill.hostile_resume()
    drill.kills(args.kills)
    write_tables(tables(drill.rows, drill.survival), args.out)
    print(f'{(time.monotonic() - began) / 60:.0f} minutes')
    lost = [f for f, (tried, kept) in drill.rows.items() if kept < tried]
    if lost:
        raise SystemExit(f'not survived: {", ".join(lost)}')


if __name__ == '__main__':
    main()
