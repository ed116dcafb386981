r"""Collect finished runs of one task into result lines and a table.

Each run is a work dir that ``tools/train.py`` left; its *last* evaluation
counts, never the best. Runs of one table must have the same schedule, but for
the teacher's, which is named apart.

    python benchmarks/collect_runs.py bccd_retinanet \
        teacher=work_dirs/A student=work_dirs/B kd=work_dirs/C tst=work_dirs/D

writes ``benchmarks/results/bccd_retinanet.jsonl`` and prints the table for
``docs/en/results.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from mmtst.engine.resume import schedule_length
from mmtst.version import __version__

_LOGGED_AT = re.compile(r'^(\d{4}(?:/\d\d){2} \d\d(?::\d\d){2}) - ', re.M)
RESULTS = Path(__file__).parent / 'results'
# Of each task: the metrics as mm evaluators log them, the first decides;
# what the table calls them; what makes them percent.
TASKS: dict[str, tuple[dict[str, str], float]] = {
    'detection': (
        {
            'coco/bbox_mAP': 'AP',
            'coco/bbox_mAP_50': 'AP50',
            'coco/bbox_mAP_75': 'AP75',
        },
        100,
    ),
    'segmentation': ({'mIoU': 'mIoU', 'mAcc': 'mAcc', 'aAcc': 'aAcc'}, 1),
    'classification': (
        {'accuracy/top1': 'top-1', 'accuracy/top5': 'top-5'},
        1,
    ),
}


class UnfinishedRun(SystemExit):
    """Say that a run has no evaluation at its end."""


class UnreadableFile(SystemExit):
    """Say that a file does not hold what it is to hold."""


def read_lines(file: Path) -> list[dict[str, Any]]:
    """Read lines of JSON, without one at the end that a kill has cut short.

    Raises:
        UnreadableFile: A line is no JSON object.
    """
    if not file.exists():
        return []
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UnreadableFile(f'{file}: {error.strerror}') from error
    whole = content[: content.rfind(b'\n') + 1]
    lines = []
    for number, line in enumerate(whole.split(b'\n'), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        # No text, no JSON, a number of too many digits; nested too deep.
        except (ValueError, RecursionError) as error:
            raise UnreadableFile(
                f'{file}: line {number} is no JSON: {error}'
            ) from error
        if not isinstance(entry, dict):
            raise UnreadableFile(f'{file}: line {number} is no JSON object')
        lines.append(entry)
    return lines


def read_run(name: str, work_dir: Path) -> dict[str, Any]:
    """Return one run's result line.

    Args:
        name: What the run is called in the table.
        work_dir: Left by ``tools/train.py``.

    Raises:
        UnfinishedRun: It has no evaluation at its end, or no config.
        UnreadableFile: A line of its logs is none.
    """
    logs = sorted(work_dir.glob('*/vis_data/scalars.json'))
    lines = [line for log in logs for line in _read_log(log)]
    configs = sorted(work_dir.glob('*.py'))
    task = next(
        (
            task
            for task, (metrics, _) in TASKS.items()
            if any(next(iter(metrics)) in line for line in lines)
        ),
        None,
    )
    if task is None or len(configs) != 1:
        raise UnfinishedRun(
            f'{work_dir}: needs an evaluation of detection, segmentation or '
            f'classification, and one config; found {len(logs)} logs and '
            f'{len(configs)} configs'
        )
    metrics = list(TASKS[task][0])
    # A run that was resumed may have evaluated a step twice: the later counts.
    evaluations = {e['step']: e for e in lines if metrics[0] in e}
    cfg = Config.fromfile(configs[0], import_custom_modules=False)
    length = schedule_length(cfg)
    last = evaluations[max(evaluations)]
    if last['step'] != next(iter(length.values())):
        raise UnfinishedRun(
            f'{work_dir}: the last evaluation is at {last["step"]}, but the '
            f'schedule is {length}: the run has not ended'
        )
    losses = [line for line in lines if 'loss' in line]
    return dict(
        name=name,
        task=task,
        config=configs[0].stem,
        **length,
        evaluated_at=last['step'],
        schedule=dict(
            optimizer=cfg.optim_wrapper.optimizer.to_dict(),
            batch_size=cfg.train_dataloader.batch_size,
            scheduler=[dict(x) for x in cfg.get('param_scheduler') or []],
        ),
        seed=cfg.get('randomness', {}).get('seed'),
        images=_image_size(cfg),
        **{key.split('/')[-1]: last[key] for key in metrics if key in last},
        curve=[[s, evaluations[s][metrics[0]]] for s in sorted(evaluations)],
        seconds_per_step=round(
            sum(line['time'] for line in losses) / max(len(losses), 1), 3
        ),
        seconds=_wall_seconds(work_dir),
        # Of the device, where it has its own.
        peak_memory_mb=max(
            (line.get('memory', 0) for line in losses), default=0
        )
        or None,
        machine=f'{platform.machine()} CPU, {os.cpu_count()} cores'
        if not torch.cuda.is_available()
        else torch.cuda.get_device_name(),
        torch=torch.__version__,
        mmtst=__version__,
    )


def _read_log(log: Path) -> list[dict[str, Any]]:
    """Read the scalars of one start, and check the numbers used here."""
    metrics = {key for keys, _ in TASKS.values() for key in keys}
    lines = read_lines(log)
    for line in lines:
        needed = {*(metrics & set(line)), *({'memory'} & set(line))}
        if 'loss' in line:
            needed.add('time')
        if metrics & set(line):
            needed.add('step')
        for key in sorted(needed):
            kinds = (int,) if key == 'step' else (int, float)
            if type(line.get(key)) not in kinds:
                raise UnreadableFile(
                    f'{log}: no number for "{key}": {line.get(key)!r:.60}'
                )
    return lines


def _wall_seconds(work_dir: Path) -> int:
    """Return how long all starts of a run took, by their logs' own times."""
    seconds = 0.0
    for log in work_dir.glob('*/*.log'):
        logged = _LOGGED_AT.findall(log.read_text(errors='replace'))
        if logged:
            began, ended = (
                datetime.strptime(logged[i], '%Y/%m/%d %H:%M:%S')
                for i in (0, -1)
            )
            seconds += (ended - began).total_seconds()
    return round(seconds)


def _image_size(cfg: Config) -> str:
    for step in cfg.train_dataloader.dataset.get('pipeline', ()):
        if step.type == 'RandomCrop' and 'crop_size' in step:
            height, width = step.crop_size
            return f'crops of {width}x{height}'
        if step.type == 'Resize' and 'scale' in step:
            return 'x'.join(map(str, step.scale))
    return 'as they are'


def table(runs: list[dict[str, Any]]) -> str:
    """Return a Markdown table of runs.

    Raises:
        SystemExit: The tasks differ, or students were trained under
            different schedules.
    """
    tasks = {run['task'] for run in runs}
    if len(tasks) > 1:
        raise SystemExit(f'runs of different tasks: {sorted(tasks)}: no table')
    unit = 'epochs' if 'epochs' in runs[0] else 'iterations'
    schedules = {
        json.dumps([run.get(unit), run['schedule']])
        for run in runs
        if run['name'] != 'teacher'
    }
    if len(schedules) > 1:
        raise SystemExit('the students have different schedules: no table')
    metrics, percent = TASKS[tasks.pop()]
    shown = {
        key.split('/')[-1]: title
        for key, title in metrics.items()
        if key.split('/')[-1] in runs[0]
    }
    rows = [
        f'| run | {unit} | ' + ' | '.join(shown.values()) + ' |',
        '|---|--:|' + '--:|' * len(shown),
    ]
    for run in runs:
        cells = ' | '.join(f'{percent * run[key]:.1f}' for key in shown)
        rows.append(f'| {run["name"]} | {run.get(unit)} | {cells} |')
    return '\n'.join(rows)


def main() -> None:
    """Read runs, write lines, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('name', help='of the file under benchmarks/results')
    parser.add_argument('runs', nargs='+', help='NAME=WORK_DIR')
    args = parser.parse_args()
    runs = []
    for item in args.runs:
        name, _, work_dir = item.partition('=')
        runs.append(read_run(name, Path(work_dir)))
    text = table(runs)
    RESULTS.mkdir(exist_ok=True)
    lines = ''.join(json.dumps(run) + '\n' for run in runs)
    file = RESULTS / f'{args.name}.jsonl'
    try:
        with file.open('x') as opened:
            opened.write(lines)
    except FileExistsError:
        raise SystemExit(
            f'{file.name} is there already: give another name, or remove it'
        ) from None
    print(text)


if __name__ == '__main__':
    main()
