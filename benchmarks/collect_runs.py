r"""Collect finished detection runs into result lines and a table.

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
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from mmtst.version import __version__

RESULTS = Path(__file__).parent / 'results'
METRICS = ('bbox_mAP', 'bbox_mAP_50', 'bbox_mAP_75')


def read_run(name: str, work_dir: Path) -> dict[str, Any]:
    """Return one run's result line.

    Args:
        name: What the run is called in the table.
        work_dir: Left by ``tools/train.py``.

    Raises:
        SystemExit: The run has no evaluation, or no config.
    """
    logs = sorted(work_dir.glob('*/vis_data/scalars.json'))
    lines = [
        json.loads(line)
        for log in logs
        for line in log.read_text().split('\n')
        if line
    ]
    evaluations = [line for line in lines if 'coco/bbox_mAP' in line]
    configs = sorted(work_dir.glob('*.py'))
    if not evaluations or not configs:
        raise SystemExit(f'{work_dir}: no finished evaluation with its config')
    last = evaluations[-1]
    cfg = Config.fromfile(configs[0])
    losses = [line for line in lines if 'loss' in line]
    return dict(
        name=name,
        config=configs[0].stem,
        epochs=cfg.train_cfg.max_epochs,
        evaluated_at=last['step'],
        schedule=dict(
            optimizer=cfg.optim_wrapper.optimizer.to_dict(),
            batch_size=cfg.train_dataloader.batch_size,
        ),
        seed=cfg.get('randomness', {}).get('seed'),
        images=_image_size(cfg),
        **{key: last[f'coco/{key}'] for key in METRICS},
        curve=[[e['step'], e['coco/bbox_mAP']] for e in evaluations],
        seconds_per_step=round(
            sum(line['time'] for line in losses) / max(len(losses), 1), 3
        ),
        machine=f'{platform.machine()} CPU, {os.cpu_count()} cores'
        if not torch.cuda.is_available()
        else torch.cuda.get_device_name(),
        torch=torch.__version__,
        mmtst=__version__,
    )


def _image_size(cfg: Config) -> str:
    for step in cfg.train_dataloader.dataset.pipeline:
        if step.type == 'Resize' and 'scale' in step:
            return 'x'.join(map(str, step.scale))
    return 'as they are'


def table(runs: list[dict[str, Any]]) -> str:
    """Return a Markdown table of runs.

    Raises:
        SystemExit: Students were trained under different schedules.
    """
    students = [run for run in runs if run['name'] != 'teacher']
    if len({json.dumps([r['epochs'], r['schedule']]) for r in students}) > 1:
        raise SystemExit('the students have different schedules: no table')
    rows = ['| run | epochs | AP | AP50 | AP75 |', '|---|--:|--:|--:|--:|']
    for run in runs:
        cells = ' | '.join(f'{100 * run[key]:.1f}' for key in METRICS)
        rows.append(f'| {run["name"]} | {run["epochs"]} | {cells} |')
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
    (RESULTS / f'{args.name}.jsonl').write_text(lines)
    print(text)


if __name__ == '__main__':
    main()
