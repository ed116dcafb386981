"""Say what a search found, beside the originals and a permuted policy."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_reduce, get_rank
from torch import Tensor

from mmtst.augmentation.base import MAGNITUDE_OPERATORS, OPERATORS, Policy
from mmtst.augmentation.controls import permute_policy
from mmtst.engine.budget import mean_rate
from mmtst.engine.policy_log import describe_policy, jsonable
from mmtst.engine.randomness import derive_seed, seed_all
from mmtst.engine.search_types import (
    GUARD,
    PARTS,
    SHARES,
    SearchModel,
    SearchSummary,
)
from mmtst.engine.side_files import replace_text

COLUMNS = ('originals', 'before', 'searched', 'permuted')


@dataclass(frozen=True)
class SearchReport:
    """Hold the report of one search.

    Attributes:
        columns: For each of ``COLUMNS`` the means over the same batches:
            ``objective``, each of its parts, ``gap_rate`` (share of the
            positives that the teacher gets right and the student wrong),
            ``expected_operators`` (N_A x mean p, per image) and what became
            of the objects. Empty where no batch could be evaluated.
        search: What the search did: steps, rates moved, signal-to-noise.
        policy: ``before`` and ``searched``, by operator, after the sigmoid.
    """

    columns: dict[str, dict[str, float]]
    search: dict[str, Any]
    policy: dict[str, Any]

    def write(self, path: Path) -> None:
        """Write the report as JSON; numbers not finite become ``null``."""
        text = json.dumps(jsonable(asdict(self)), indent=2, allow_nan=False)
        replace_text(path, text + '\n')

    def table(self) -> str:
        """Return the report as lines of text for the log."""
        lines = []
        if self.columns:
            lines.append(_row('', list(COLUMNS)))
            rows = next(iter(self.columns.values()))
            for row in rows:
                cells = [_number(self.columns[c][row]) for c in COLUMNS]
                lines.append(_row(row, cells))
        for key, figure in self.search.items():
            lines.append(_row(key, [_number(figure)]))
        before, searched = self.policy['before'], self.policy['searched']
        lines.append(_row('operator', ['p before', 'p', 'm before', 'm']))
        for name in OPERATORS:
            figures = [before['prob'][name], searched['prob'][name]]
            if name in MAGNITUDE_OPERATORS:
                figures += [before['mag'][name], searched['mag'][name]]
            lines.append(_row(name, [_number(number) for number in figures]))
        return '\n'.join(lines)


def build_report(
    model: SearchModel,
    batches: list[dict[str, Any]],
    summary: SearchSummary,
    *,
    seed: int,
    autocast: Callable[[], AbstractContextManager[Any]],
    permutations: int = 3,
) -> SearchReport:
    """Evaluate a search on fixed batches with common draws.

    Four columns: the originals; the policy before the search; the searched
    policy; and the control, the searched policy with its pairs (th_p, th_m)
    permuted among operators of the same kind (affine, color, fixed),
    averaged over several seeded permutations. A searched policy no better
    than the control owes its objective to strength, not to which operators
    it picked. All columns see the same images, the same random numbers (but
    where the object guard has to draw again) and the temperature of Stage
    III. Run it inside the model's ``search_mode()``.

    Args:
        model: Student, teacher and augmentation, as in the search.
        batches: This rank's; results are averaged over all ranks.
        summary: What the search did.
        seed: Of draws and permutations, the same on all ranks.
        autocast: Makes the context in which the objective is evaluated.
        permutations: Number of permuted policies in the control.

    Returns:
        The report, the same on all ranks.
    """
    prepared = []
    for index, batch in enumerate(batches):
        seed_all(derive_seed(seed, 'batch', index, get_rank()))
        inputs, data_samples = model.prepare_search_batch(batch)
        if len(data_samples) > 0:
            prepared.append((inputs, data_samples))
    number = int(model.augmentation.num_operators)

    def column(policies: list[Policy | None]) -> dict[str, float]:
        rows = [
            evaluate_policy(model, prepared, policy, seed, autocast)
            for policy in policies
        ]
        means = {
            key: sum(row[key] for row in rows) / len(rows) for key in rows[0]
        }
        rate = (
            0.0
            if policies[0] is None
            else mean_rate(policies[0], model.augmentation.gate)
        )
        return {**means, 'expected_operators': number * rate}

    generator = torch.Generator()
    generator.manual_seed(derive_seed(seed, 'permutation'))
    permuted: list[Policy | None] = [
        permute_policy(summary.end, generator) for _ in range(permutations)
    ]
    columns = {}
    if _any_rank(len(prepared)):
        columns = {
            'originals': column([None]),
            'before': column([summary.start]),
            'searched': column([summary.end]),
            'permuted': column(permuted),
        }
    return SearchReport(
        columns=columns,
        search={
            'iterations': summary.iterations,
            'updates': summary.updates,
            'empty_steps': summary.empty,
            'nonfinite_steps': summary.nonfinite,
            'overflow_steps': summary.overflows,
            'seconds': summary.seconds,
            'last_lr': summary.lr,
            'largest_rate_move': summary.largest_move,
            'gradient_signal_to_noise': signal_to_noise(summary.gradients),
            'report_batches': len(batches),
            'permutations': permutations,
        },
        policy={
            'before': describe_policy(summary.start),
            'searched': describe_policy(summary.end),
        },
    )


def signal_to_noise(gradients: Tensor) -> float:
    """Return the norm of the mean gradient over its standard error.

    With g_t the gradient of step t (averaged over ranks, not clipped; under
    a budget without its component along the mean rate), n steps, and s_j
    the standard deviation (n - 1) of component j over the steps:

        SNR = ||mean_t g_t|| / sqrt(sum_j s_j^2 / n).

    Pure noise gives about 1, since then E||mean||^2 equals the denominator
    squared; a gradient that is the same at every step gives infinity. Change
    of the gradient along the search counts as noise.

    Args:
        gradients: (n, 25).

    Returns:
        The ratio; NaN under two steps or where all gradients are zero.
    """
    steps = len(gradients)
    if steps < 2:
        return math.nan
    signal = float(gradients.mean(0).norm())
    noise = math.sqrt(float(gradients.var(0).sum()) / steps)
    if noise == 0:
        return math.inf if signal > 0 else math.nan
    return signal / noise


def evaluate_policy(
    model: SearchModel,
    batches: list[tuple[Tensor, list[Any]]],
    policy: Policy | None,
    seed: int,
    autocast: Callable[[], AbstractContextManager[Any]],
) -> dict[str, float]:
    """Return the means of one policy over the batches of all ranks.

    Args:
        model: In its ``search_mode()``.
        batches: This rank's, as ``prepare_search_batch`` gives them.
        policy: What augments; ``None`` for the originals.
        seed: Of the draws, the same on all ranks: policies evaluated with
            one seed see the same random numbers.
        autocast: Makes the context in which the objective is evaluated.

    Returns:
        ``objective``, its parts and shares, what the object guard says, and
        how many ``positives`` and ``batches`` counted. Objective, parts and
        what the guard says are averaged over the batches that have an
        objective; each share over the positives of those that have that
        share.
    """
    names = ('objective', *PARTS, *GUARD)
    values: list[float] = [0.0] * len(names)
    shares = [0.0] * len(SHARES)
    counts = [0.0] * len(SHARES)
    valid = positives = 0.0
    for index, (inputs, data_samples) in enumerate(batches):
        place = (index, get_rank())
        draw, guard = None, [1.0, 1.0, 1.0, 0.0, 0.0]
        if policy is not None:
            generator = torch.Generator()
            generator.manual_seed(derive_seed(seed, 'draw', *place))
            draw, stats = model.draw_views(
                inputs, data_samples, policy, generator
            )
            guard = [float(getattr(stats, name)) for name in GUARD]
        seed_all(derive_seed(seed, 'objective', *place))
        with autocast():
            result = model.search_objective(
                inputs,
                data_samples,
                model.augmentation.policy if policy is None else policy,
                draw,
            )
        if result is None or not bool(result.total.isfinite()):
            continue
        valid += 1
        positives += result.positives
        objective = [float(result.total.detach())]
        parts = [float(result.parts[name]) for name in PARTS]
        row = objective + parts + guard
        values = [old + new for old, new in zip(values, row, strict=True)]
        for place_of, name in enumerate(SHARES):
            share = getattr(result, name)
            if share is not None:
                shares[place_of] += share * result.positives
                counts[place_of] += result.positives
    message = torch.tensor(
        [*values, *shares, *counts, positives, valid], dtype=torch.float64
    )
    all_reduce(message, op='sum')
    totals = message.tolist()
    *_, positives, valid = totals
    means = _ratios(names, totals, [valid] * len(names))
    rest = totals[len(names) :]
    means.update(_ratios(SHARES, rest, rest[len(SHARES) :]))
    return {**means, 'positives': positives, 'batches': valid}


def _ratios(
    names: Sequence[str], sums: list[float], counts: list[float]
) -> dict[str, float]:
    """Divide; NaN where there was nothing to count."""
    return {
        name: total / count if count else math.nan
        for name, total, count in zip(names, sums, counts, strict=False)
    }


def _any_rank(count: int) -> bool:
    message = torch.tensor([float(count)])
    all_reduce(message, op='max')
    return bool(message.item() > 0)


def _row(head: str, cells: list[str]) -> str:
    return f'{head:<26}' + ''.join(f'{cell:>12}' for cell in cells)


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f'{value:.4g}'
