r"""Ask whether a search finds something, or merely lowers the strength.

From one student and one teacher, searches of several seeds, each from the
same start; every policy found is measured on held-out batches with common
draws, beside

- the originals,
- the policy that the search began with,
- ``permuted``: the policy found with its parameters exchanged among operators
  of one kind, the mean of several exchanges. It has the same strength, so what
  beats it has found *which* operators to apply;
- ``same mean``: all rates and all magnitudes at their means.

Once with the mean rate free, once held (``budget``).

    python benchmarks/search_quality.py configs/tst/mmpretrain/NAME.py \
        --student work_dirs/kd/epoch_5.pth --out NAME \
        --cfg-options model.teacher_ckpt=work_dirs/teacher/epoch_5.pth

writes ``benchmarks/results/NAME.json`` and prints the table.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import os
import platform
import statistics
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from _spread import mean_and_deviation
from mmengine.config import Config, DictAction
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import Tensor

from mmtst.augmentation.base import Policy
from mmtst.augmentation.controls import control_policy, permute_policy
from mmtst.engine import (
    PolicySearch,
    SearchOptions,
    derive_seed,
    evaluate_policy,
)
from mmtst.engine.budget import mean_rate
from mmtst.engine.policy_log import describe_policy, jsonable
from mmtst.engine.search_data import (
    batches_per_epoch,
    build_search_loader,
    opened,
)
from mmtst.engine.search_schedule import portable_lr
from mmtst.models.build import load_model
from mmtst.registry import MODELS
from mmtst.version import __version__

RESULTS = Path(__file__).parent / 'results'
ROWS = ('originals', 'start', 'searched', 'permuted', 'same mean')
COLUMNS = {
    'objective': 'objective',
    'gap_rate': 'teacher right, student wrong',
    'teacher_right': 'teacher right',
    'student_wrong': 'student wrong',
    'operators': 'operators per image',
}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('config', help='config of TST')
    parser.add_argument('--student', required=True, help='its checkpoint')
    parser.add_argument('--out', required=True, help='name of the result')
    parser.add_argument('--seeds', type=int, default=3, help='searches')
    parser.add_argument('--steps', type=int, default=100, help='of a search')
    parser.add_argument(
        '--lr', type=float, help='by default what moves as far as 390 x 0.01'
    )
    parser.add_argument('--batches', type=int, default=8, help='held out')
    parser.add_argument('--permutations', type=int, default=5)
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, default={}
    )
    return parser.parse_args()


class Study:
    """Hold a pair, and batches that no search has seen.

    Args:
        args: The command line.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        cfg = Config.fromfile(args.config)
        cfg.merge_from_dict(args.cfg_options)
        init_default_scope(cfg.default_scope)
        torch.manual_seed(0)
        self.model: Any = MODELS.build(cfg.model).to(get_device())
        load_model(self.model.student, args.student, '--student')
        self.loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
        held_out = dict(cfg.val_dataloader)
        held_out['sampler'] = dict(type='DefaultSampler', shuffle=True)
        held_out['batch_size'] = cfg.train_dataloader.batch_size
        batches = Runner.build_dataloader(held_out, seed=0)
        self.held_out: list[tuple[Tensor, list[Any]]] = [
            self.model.prepare_search_batch(batch)
            for batch in itertools.islice(batches, args.batches)
        ]
        self.start: Policy = self.model.augmentation.policy.detach()

    def search(self, seed: int, budget: str | None) -> Policy:
        """Search from the start, and leave the encoder as it was."""
        args = self.args
        size = self.loader.batch_size
        search = PolicySearch(
            self.model,
            SearchOptions(
                iterations=args.steps,
                steps_per_epoch=batches_per_epoch(self.loader, size),
                lr=portable_lr(args.steps) if args.lr is None else args.lr,
                budget='hold' if budget == 'held' else None,
            ),
            seed=seed,
            autocast=nullcontext,
            logger=logging.getLogger('search_quality'),
            on_log=lambda entry: None,
        )
        loader = build_search_loader(
            self.loader, num_batches=args.steps, batch_size=size, seed=seed
        )
        try:
            with opened(loader) as batches:
                return search.run(batches).end
        finally:
            self.model.augmentation.write_policy(self.start)

    def measure(self, policy: Policy | None) -> dict[str, float]:
        """Return the columns of one policy; ``None`` is the originals."""
        row = evaluate_policy(
            self.model,
            self.held_out,
            policy,
            derive_seed(0, 'quality'),
            nullcontext,
        )
        encoder = self.model.augmentation
        rate = 0.0 if policy is None else mean_rate(policy, encoder.gate)
        row['operators'] = encoder.num_operators * rate
        return {name: row[name] for name in COLUMNS}

    def rows(self, found: Policy, seed: int) -> dict[str, dict[str, float]]:
        """Return the rows of one search."""
        generator = torch.Generator().manual_seed(derive_seed(seed, 'p'))
        permuted = [
            self.measure(permute_policy(found, generator))
            for _ in range(self.args.permutations)
        ]
        return {
            'originals': self.measure(None),
            'start': self.measure(self.start),
            'searched': self.measure(found),
            'permuted': {
                name: statistics.fmean(row[name] for row in permuted)
                for name in COLUMNS
            },
            'same mean': self.measure(
                control_policy('same_mean', found, generator)
            ),
        }


def table(runs: list[dict[str, Any]]) -> str:
    """Return a Markdown table: means over the seeds, and their spread."""
    lines = [
        '| mean rate | policy | ' + ' | '.join(COLUMNS.values()) + ' |',
        '|---|---|' + '--:|' * len(COLUMNS),
    ]
    for budget in dict.fromkeys(run['budget'] for run in runs):
        for name in ROWS:
            cells = []
            for column in COLUMNS:
                values = [
                    run['rows'][name][column]
                    for run in runs
                    if run['budget'] == budget
                ]
                # No search changes the originals.
                differing = values if len(set(values)) > 1 else values[:1]
                cells.append(mean_and_deviation(differing, digits=3))
            lines.append(f'| {budget} | {name} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def main() -> None:
    """Search, measure, write, print."""
    args = parse_args()
    study = Study(args)
    runs = []
    with study.model.search_mode():
        for budget, seed in itertools.product(
            ('free', 'held'), range(args.seeds)
        ):
            found = study.search(seed, budget)
            run = dict(
                budget=budget,
                seed=seed,
                rows=study.rows(found, seed),
                policy=describe_policy(found),
            )
            runs.append(run)
            print(f'{budget}, seed {seed}: {run["rows"]["searched"]}')
    device = get_device()
    result = dict(
        config=Path(args.config).stem,
        # Files by their names alone: the folders are of one machine.
        cfg_options={
            k: str(v).rsplit('/', 1)[-1] for k, v in args.cfg_options.items()
        },
        student=Path(args.student).name,
        steps=args.steps,
        batches=args.batches,
        batch_size=study.loader.batch_size,
        permutations=args.permutations,
        runs=jsonable(runs),
        machine=torch.cuda.get_device_name()
        if device.startswith('cuda')
        else f'{platform.machine()} CPU, {os.cpu_count()} cores',
        torch=torch.__version__,
        mmtst=__version__,
    )
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f'{args.out}.json'
    path.write_text(json.dumps(result, indent=1) + '\n')
    print(table(runs))


if __name__ == '__main__':
    main()
