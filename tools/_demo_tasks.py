"""Say what the demos train, and read what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from _steps import StepFailed

RUNS = {
    'teacher': 'the teacher',
    'student': 'the student alone',
    'kd': 'the student by KD',
    'tst': 'the student by TST',
}


@dataclass(frozen=True)
class Task:
    """Say what one of the demos trains, and how it is judged.

    Attributes:
        layout: Of the data: of the shapes set, or ``cifar``, of the digits.
        metrics: What the log calls each column of the table.
        factor: What makes them percent.
        work_dir: Where all goes by default.
        data: What the data are called in the plots.
        num_train: How many training images by default; this and the next two
            are ``None`` where the data are what they are.
        num_val: How many validation images by default.
        size: Side of the images in pixels, by default.
    """

    layout: str
    metrics: Mapping[str, str]
    factor: float
    work_dir: str
    data: str = 'shapes'
    num_train: int | None = None
    num_val: int | None = None
    size: int | None = None


# Their configs lie in folders of configs/demo by these names.
TASKS = {
    'det': Task(
        layout='coco',
        metrics={'AP': 'coco/bbox_mAP', 'AP50': 'coco/bbox_mAP_50'},
        factor=100.0,
        work_dir='demo_output',
        num_train=1000,
        num_val=200,
        size=128,
    ),
    'seg': Task(
        layout='cityscapes',
        metrics={'mIoU': 'mIoU', 'mAcc': 'mAcc'},
        factor=1.0,
        work_dir='demo_output_seg',
        num_train=800,
        num_val=80,
        size=96,
    ),
    'cls': Task(
        layout='cifar',
        metrics={'top-1': 'accuracy/top1'},
        factor=1.0,
        work_dir='demo_output_cls',
        data='digits',
    ),
}
# What mmdet's metric writes into the log as it begins, and if it has nothing.
EVALUATING = 'Evaluating bbox...'
FOUND_NOTHING = 'The testing results of the whole dataset is empty.'


def last_metrics(folder: Path, task: str = 'det') -> dict[str, float]:
    """Return the metrics of the last validation below a work dir.

    Args:
        folder: A work dir; a resumed training has several logs in it.
        task: One of ``TASKS``.

    Returns:
        The task's metrics by the names of the table's columns, in percent;
        0 where it found nothing, which mmdet then has no metrics of.

    Raises:
        StepFailed: There is no log.
    """
    metrics = TASKS[task].metrics
    logs = sorted(folder.glob('*/vis_data/scalars.json'), reverse=True)
    if not logs:
        raise StepFailed(f'nothing has been logged below {folder}')
    for log in logs:
        lines = log.read_text(encoding='utf-8').splitlines()
        for line in reversed(lines):
            found = json.loads(line)
            if not _is_validation(found):
                continue
            if _found_nothing(log.parents[1]):
                found = {}
            return {
                column: TASKS[task].factor * float(found.get(key, 0.0))
                for column, key in metrics.items()
            }
    return dict.fromkeys(metrics, 0.0)


def table(results: dict[str, dict[str, float]]) -> str:
    """Format the metrics, in percent, of every run."""
    columns = list(next(iter(results.values())))
    rows = [f'{"":<20}' + ''.join(f'{column:>7}' for column in columns)]
    for name, title in RUNS.items():
        values = [results[name][column] for column in columns]
        rows.append(f'{title:<20}' + ''.join(f'{v:>7.1f}' for v in values))
    return '\n'.join(rows)


def _is_validation(line: dict[str, float]) -> bool:
    """Tell a validation from a training's steps and from a search's."""
    return 'time' in line and 'loss' not in line


def _found_nothing(folder: Path) -> bool:
    """Tell whether the last validation of one start had no detections.

    The scalars do not say so: mmengine writes the metrics of the validation
    before once more.
    """
    for log in folder.glob('*.log'):
        text = log.read_text(encoding='utf-8')
        if FOUND_NOTHING in text.rpartition(EVALUATING)[2]:
            return True
    return False
