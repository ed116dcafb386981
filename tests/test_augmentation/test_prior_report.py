from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from mmtst.augmentation.base import (
    AFFINE_OPERATORS,
    COLOR_OPERATORS,
    MAGNITUDE_OPERATORS,
)
from mmtst.augmentation.manual_operators import apply_manual
from mmtst.augmentation.meta_encoders import (
    build_meta_encoders,
    load_prior,
    shipped_prior,
)
from mmtst.augmentation.presets import NETWORKS
from mmtst.augmentation.prior_images import read_images, synthetic_images
from mmtst.augmentation.prior_report import (
    BARS,
    MAX_AFFINE_AT_ZERO,
    MAX_DISPLACEMENT,
    AffineReport,
    ColorReport,
    failures,
    judge_prior,
    to_json,
    to_table,
)

PAGE = Path(__file__).parents[2] / 'docs' / 'en' / 'prior.md'


def judge(network: str, images: torch.Tensor):
    prior = load_prior(shipped_prior(network), network)
    return judge_prior(network, prior, images)


def test_the_shipped_prior_reaches_the_bar_on_cifar(cifar_test):
    """Real photographs, nothing of which was fitted on."""
    images = read_images(cifar_test, 500, 32, seed=1, tile=32)
    assert len(images) == 500
    assert failures(judge('quadratic', images)) == []


def test_the_shipped_prior_comes_near_the_bar_on_synthetic_images():
    """Weaker, since these are harder, but it runs everywhere."""
    reports = judge('quadratic', synthetic_images(128, 32, 11))
    assert tuple(reports) == MAGNITUDE_OPERATORS
    for name in AFFINE_OPERATORS:
        assert reports[name].worst <= MAX_DISPLACEMENT
        assert reports[name].at_zero <= MAX_AFFINE_AT_ZERO
    for name in COLOR_OPERATORS:
        report, bar = reports[name], BARS[name]
        assert report.error <= 1.1 * bar.error, name
        assert report.error_of_each <= 1.1 * bar.error, name
        assert report.at_zero <= bar.at_zero, name
        assert report.strength >= 0.9 * bar.strength, name


def test_reports_are_what_the_encoders_do_to_images():
    """Run convolutions and operators over images, without moments."""
    images = synthetic_images(16, 24, 12)
    reports = judge('paper', images)
    prior = load_prior(shipped_prior('paper'), 'paper')
    encoders = build_meta_encoders('paper', prior).double()

    def change(name: str, m: float) -> torch.Tensor:
        kernel = encoders[name](torch.tensor([m], dtype=torch.float64))[0]
        ones = torch.ones_like(images[:, :1])
        inputs = torch.cat([images - 0.5, ones], dim=1)
        return F.conv2d(inputs, kernel, padding=2)

    for name in ('Contrast', 'Posterize'):
        errors, targets = [], []
        for step in range(1, 20):
            m = 0.05 * step
            target = apply_manual(name, images, m) - images
            errors.append((change(name, m) - target).square().mean())
            targets.append(target.square().mean())
        errors, targets = torch.stack(errors), torch.stack(targets)
        strength = (change(name, 1.0) - change(name, 0.0)).square().mean()
        expected = ColorReport(
            name,
            float(errors.mean() / targets.mean()),
            float((errors / targets).mean()),
            float(change(name, 0.0).square().mean().sqrt()),
            float(strength.sqrt()),
            float(targets.mean().sqrt()),
        )
        for key, value in vars(expected).items():
            if key != 'operator':
                got = getattr(reports[name], key)
                assert got == pytest.approx(value, rel=1e-2), key


def test_failures_name_operator_quantity_and_value():
    reports = judge('quadratic', synthetic_images(16, 16, 12))
    bad = dict(reports)
    bad['Rotate'] = AffineReport('Rotate', 0.01, 0.02, 0.5)
    bad['Color'] = ColorReport('Color', 0.9, 0.8, 0.3, 0.01, 0.04)
    new = [line for line in failures(bad) if line not in failures(reports)]
    assert new == [
        'Rotate: displacement is 0.02',
        'Rotate: A(0) - I is 0.5',
        'Color: error is 0.9',
        'Color: error_of_each is 0.8',
        'Color: change at m = 0 is 0.3',
        'Color: change from m = 0 to 1 is 0.01',
    ]


def test_table_shows_every_row():
    rows = to_json(
        {
            'Rotate': AffineReport('Rotate', 0.0123, 0.02, 0.5),
            'Color': ColorReport('Color', 0.25, 0.8, 0.3, 0.01, 0.04),
        }
    )
    assert json.loads(json.dumps(rows)) == rows
    table = to_table(rows)
    assert '| Rotate | 1.23 | 2.00 | 0.5000 |' in table
    assert '| Color | 0.250 | 0.800 | 0.3000 | 0.010 | 0.0400 |' in table


@pytest.mark.parametrize('network', NETWORKS)
def test_the_page_shows_the_shipped_reports(network):
    """Numbers in the documentation come from the file beside the prior."""
    path = shipped_prior(network).with_suffix('.json')
    report = json.loads(path.read_text())
    assert report['network'] == network
    assert report['fitted_on'] == 'synthetic'
    page, shown = PAGE.read_text(), []
    for name, judged in report['judged'].items():
        head = f'<!-- table: {network} {name} -->\n\n'
        if head in page:
            assert head + to_table(judged['rows']) in page
            shown.append(name)
    assert 'cifar100-test' in shown


@pytest.mark.parametrize('network', NETWORKS)
def test_the_shipped_report_is_of_the_shipped_prior(network):
    path = shipped_prior(network).with_suffix('.json')
    rows = json.loads(path.read_text())['judged']['synthetic']['rows']
    reports = judge(network, synthetic_images(500, 32, 1))
    for row, report in zip(rows, reports.values(), strict=True):
        for key, value in row.items():
            if key != 'operator':
                got = getattr(report, key)
                assert got == pytest.approx(value, rel=2e-2, abs=1e-4)
