"""Judge a prior: how well do its meta-encoders imitate their operators?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from mmtst.augmentation.base import AFFINE_OPERATORS, COLOR_OPERATORS
from mmtst.augmentation.manual_operators import affine_target
from mmtst.augmentation.meta_encoders import Prior, build_meta_encoders
from mmtst.augmentation.presets import Network
from mmtst.augmentation.prior import squared_displacement
from mmtst.augmentation.prior_moments import gather_moments


@dataclass(frozen=True)
class AffineReport:
    """Say how far an affine encoder samples from where it should.

    Attributes:
        operator: Its name.
        displacement: Root mean square over pixels and m in [0.05, 0.95], as
            a fraction of the side of the image.
        worst: The largest root mean square over pixels at any of these m.
        at_zero: Largest entry of A(0) - I, absolute.
    """

    operator: str
    displacement: float
    worst: float
    at_zero: float


@dataclass(frozen=True)
class ColorReport:
    """Say how much of a color operator its encoder gets.

    The error is relative to that of doing nothing: 0 is perfect, 1 is no
    better than the identity.

    Attributes:
        operator: Its name.
        error: Mean squared error over that of the identity, each averaged
            over m in [0.05, 0.95] first.
        error_of_each: The mean over these m of the ratio at each.
        at_zero: Root mean square change at m = 0, raw values in [0, 1].
        strength: Root mean square change of the output from m = 0 to 1.
        target: Root mean square change by the manual operator, over m in
            [0.05, 0.95]: where it is next to nothing, so is the error.
    """

    operator: str
    error: float
    error_of_each: float
    at_zero: float
    strength: float
    target: float


@dataclass(frozen=True)
class Bar:
    """Hold what the ``quadratic`` network must reach for one operator."""

    error: float
    at_zero: float
    strength: float


BARS = {
    'Posterize': Bar(0.40, 0.01, 0.025),
    'Solarize': Bar(0.35, 0.15, 0.20),
    'Brightness': Bar(0.30, 0.01, 0.20),
    'Color': Bar(0.25, 0.01, 0.05),
    'Contrast': Bar(0.65, 0.01, 0.05),
    'Sharpness': Bar(0.45, 0.01, 0.02),
}
"""Bars on photographs that were not fitted on; both errors are meant."""
MAX_DISPLACEMENT = 0.015
MAX_AFFINE_AT_ZERO = 1e-3


@torch.no_grad()
def judge_prior(
    network: Network, prior: Prior, images: Tensor, binned: bool = False
) -> dict[str, AffineReport | ColorReport]:
    """Compare every meta-encoder with its manual operator.

    Args:
        network: Which network the prior is for.
        prior: The tensors.
        images: (N, 3, H, W), raw RGB in [0, 1], not those fitted on.
        binned: Whether targets round the magnitude to ten bins.

    Returns:
        One report for each of ``MAGNITUDE_OPERATORS``, in order.
    """
    encoders = build_meta_encoders(network, prior).double()
    magnitudes = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    reports: dict[str, AffineReport | ColorReport] = {}
    for name in AFFINE_OPERATORS:
        target = torch.stack(
            [
                affine_target(name, float(m), binned, images.shape[-1])
                for m in magnitudes
            ]
        )
        squared = squared_displacement(encoders[name](magnitudes), target)
        offset = encoders[name](ends[:1]) - torch.eye(2, 3)
        reports[name] = AffineReport(
            name,
            float(squared.mean().sqrt()),
            float(squared.max().sqrt()),
            float(offset.abs().max()),
        )
    gathered = gather_moments(
        [(name, magnitudes) for name in COLOR_OPERATORS], images, binned
    )
    for name, moments in zip(COLOR_OPERATORS, gathered, strict=True):
        error = moments.error(encoders[name](magnitudes))
        weakest, strongest = encoders[name](ends)
        changes = torch.stack([weakest, strongest - weakest])
        at_zero, strength = moments.power(changes).clamp_min(0).sqrt()
        reports[name] = ColorReport(
            name,
            float(error.mean() / moments.identity.mean()),
            float((error / moments.identity).mean()),
            float(at_zero),
            float(strength),
            float(moments.identity.mean().sqrt()),
        )
    return reports


def failures(
    reports: Mapping[str, AffineReport | ColorReport],
) -> list[str]:
    """Say in words where reports stay short of the bars.

    Args:
        reports: What ``judge_prior`` gave for the ``quadratic`` network.

    Returns:
        One sentence for each bar missed; none if all are reached.
    """
    found = []

    def check(name: str, what: str, value: float, fits: bool) -> None:
        if not fits:
            found.append(f'{name}: {what} is {value:.4g}')

    for name, report in reports.items():
        if isinstance(report, AffineReport):
            far, zero = report.worst, report.at_zero
            check(name, 'displacement', far, far <= MAX_DISPLACEMENT)
            check(name, 'A(0) - I', zero, zero <= MAX_AFFINE_AT_ZERO)
            continue
        bar = BARS[name]
        for what in ('error', 'error_of_each'):
            value = getattr(report, what)
            check(name, what, value, value <= bar.error)
        value = report.at_zero
        check(name, 'change at m = 0', value, value <= bar.at_zero)
        value = report.strength
        check(name, 'change from m = 0 to 1', value, value >= bar.strength)
    return found


def to_json(
    reports: Mapping[str, AffineReport | ColorReport],
) -> list[dict[str, Any]]:
    """Return reports as plain data, rounded to what is meant."""
    return [
        {
            key: value if isinstance(value, str) else round(value, 6)
            for key, value in asdict(report).items()
        }
        for report in reports.values()
    ]


def to_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows of ``to_json`` as two Markdown tables.

    Args:
        rows: Affine and color rows, in any order.

    Returns:
        Lines that end in a newline.
    """
    lines = [
        '| operator | displacement, % of the side | worst m | A(0) - I |',
        '|---|--:|--:|--:|',
    ]
    lines += [
        f'| {row["operator"]} | {100 * row["displacement"]:.2f} '
        f'| {100 * row["worst"]:.2f} | {row["at_zero"]:.4f} |'
        for row in rows
        if 'displacement' in row
    ]
    lines += [
        '',
        '| operator | R | R, mean of ratios | change at m = 0 '
        '| change from m = 0 to 1 | change by the target |',
        '|---|--:|--:|--:|--:|--:|',
    ]
    lines += [
        f'| {row["operator"]} | {row["error"]:.3f} '
        f'| {row["error_of_each"]:.3f} | {row["at_zero"]:.4f} '
        f'| {row["strength"]:.3f} | {row["target"]:.4f} |'
        for row in rows
        if 'error' in row
    ]
    return '\n'.join(lines) + '\n'
