r"""Measure what augmenting, searching and training cost, and in what ratio.

All of one run's figures come from the same process and thread count, and
rounds take turns, so that a slow spell of the machine hits all alike: the
ratios mean something where absolute times do not. Each ratio is the median
over rounds of that round's quotient, with the interquartile range. The
device is synchronised inside the timed region. Memory is what a task needs
beyond what it finds.

    python benchmarks/speed.py --out benchmarks/results/speed_det.json
    python benchmarks/speed.py --task cls --batch 64 --side 32 \
        --out benchmarks/results/speed_cls.json

Steps are compared with mmrazor's KD step on the doubled batch, augmentations
with the same operators computed one by one (``_plain_augmentation.py``), and,
where kornia is installed, with as many of kornia's.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from _speed_tasks import BASE, BATCHES, PAIRS, augment_tasks, step_tasks
from mmengine.device import get_device

from mmtst.version import __version__


def measure(
    tasks: Mapping[str, Callable[[], Any]], rounds: int, device: str
) -> dict[str, list[float]]:
    """Time tasks in turn.

    Args:
        tasks: What to run, by name.
        rounds: Timed rounds, after one round of warm-up.
        device: What to wait for.

    Returns:
        Seconds of each round, by name.
    """
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for index in range(rounds + 1):
        for name, task in tasks.items():
            began = time.perf_counter()
            task()
            if device.startswith('cuda'):
                torch.cuda.synchronize()
            if index:
                times[name].append(time.perf_counter() - began)
    return times


def summary(values: Sequence[float]) -> dict[str, float]:
    """Return the median and the interquartile range."""
    low, middle, high = statistics.quantiles(values, n=4)
    return dict(median=middle, iqr=high - low)


def memory_mb(task: Callable[[], Any], device: str) -> float:
    """Return what a task needs at most beyond what is in use, in MiB.

    Of a GPU what PyTorch allocates, otherwise what the process has resident
    (Linux; 0 elsewhere).
    """
    gc.collect()
    if device.startswith('cuda'):
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        task()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    process = Path('/proc/self')
    if not process.exists():
        return 0.0
    # Gives back what is free, and sets the peak to what is left.
    ctypes.CDLL(None).malloc_trim(0)
    (process / 'clear_refs').write_text('5')
    before = _resident(process, 'VmRSS')
    task()
    return (_resident(process, 'VmHWM') - before) / 1024


def _resident(process: Path, name: str) -> int:
    text = (process / 'status').read_text()
    return int(text.split(f'{name}:')[1].split()[0])


def compare(
    tasks: Mapping[str, Callable[[], Any]],
    base: str,
    rounds: int,
    device: str,
) -> dict[str, Any]:
    """Measure tasks, and set them in relation to one of them.

    Returns:
        By name: ``seconds`` and ``ratio`` (``median`` and ``iqr`` of each),
        ``memory_mb``.
    """
    times = measure(tasks, rounds, device)
    found = {}
    for name, values in times.items():
        ratios = [a / b for a, b in zip(values, times[base], strict=True)]
        found[name] = dict(
            seconds=summary(values),
            ratio=summary(ratios),
            memory_mb=round(memory_mb(tasks[name], device), 1),
        )
    return found


def table(title: str, base: str, found: Mapping[str, Any]) -> str:
    """Return a Markdown table of what was found."""
    rows = [f'| {title} | ms | against {base} | memory, MiB |']
    rows.append('|---|--:|--:|--:|')
    for name, entry in found.items():
        ratio = entry['ratio']
        rows.append(
            f'| {name} | {1000 * entry["seconds"]["median"]:.1f} '
            f'| {ratio["median"]:.2f} (+- {ratio["iqr"] / 2:.2f}) '
            f'| {entry["memory_mb"]:.0f} |'
        )
    return '\n'.join(rows)


def main() -> None:
    """Measure, print tables and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--task', choices=PAIRS, default='det')
    parser.add_argument('--rounds', type=int, default=9)
    parser.add_argument('--batch', type=int, default=4, help='originals')
    parser.add_argument('--side', type=int, default=320, help='pixels')
    parser.add_argument('--out', type=Path)
    args = parser.parse_args()
    device = str(get_device())
    results: dict[str, Any] = dict(
        machine=dict(
            device=torch.cuda.get_device_name() if 'cuda' in device else 'cpu',
            processor=platform.machine(),
            threads=torch.get_num_threads(),
            torch=torch.__version__,
            mmtst=__version__,
        ),
        rounds=args.rounds,
        pair=PAIRS[args.task]['tst'],
    )
    steps = step_tasks(args.task, args.batch, args.side, device)
    groups = {f'{args.batch}x3x{args.side}x{args.side}': (steps, BASE)}
    for name, shape in BATCHES[args.task].items():
        tasks = augment_tasks(args.task, shape, device)
        groups[name] = (tasks, 'augment, folded')
    for name, (tasks, base) in groups.items():
        results[name] = compare(tasks, base, args.rounds, device)
        print(table(name, base, results[name]) + '\n', flush=True)
    # Originals: each step sees each of them twice.
    results['originals_per_second'] = {
        name: args.batch / entry['seconds']['median']
        for name, entry in results[next(iter(groups))].items()
        if not name.startswith('Stage II ')
    }
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(results, indent=2) + '\n')


if __name__ == '__main__':
    main()
