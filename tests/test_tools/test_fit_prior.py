"""Test tools/fit_prior.py."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmtst.augmentation import MAGNITUDE_OPERATORS, AugmentationEncoder
from mmtst.augmentation.prior_report import to_table
from mmtst.utils.errors import ConfigError

TOOL = Path(__file__).parents[2] / 'tools' / 'fit_prior.py'
SMALL = ['--num', '8', '--num-judge', '4', '--side', '12']


@pytest.fixture
def fit_prior(load_tool):
    return load_tool('fit_prior')


@pytest.fixture
def photographs(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / 'photographs'
    folder.mkdir()
    for name in ('a.png', 'b.png'):
        values = rng.integers(0, 256, (24, 48, 3), dtype=np.uint8)
        Image.fromarray(values).save(folder / name)
    return folder


def test_writes_a_prior_that_the_encoder_takes(
    fit_prior, tmp_path, photographs, capsys
):
    out = tmp_path / 'priors' / '{network}.pth'
    judged = [f'tiles={photographs}:12', f'patches={photographs}']
    report = fit_prior.main(
        [*SMALL, '--seed', '3', '--out', str(out), '--judge', *judged]
    )
    path = tmp_path / 'priors' / 'quadratic.pth'
    assert AugmentationEncoder(prior=path).network == 'quadratic'
    assert report == json.loads(path.with_suffix('.json').read_text())
    assert report['seed'] == 3
    assert report['num_images'] == 8
    assert set(report['judged']) == {'synthetic', 'tiles', 'patches'}
    shown = capsys.readouterr().out
    for name, result in report['judged'].items():
        assert f'quadratic, on 4 images of {name}' in shown
        assert to_table(result['rows']) in shown
        names = [row['operator'] for row in result['rows']]
        assert names == list(MAGNITUDE_OPERATORS)
    assert f'prior:  {path}' in shown
    # Reports are published: they name a folder, not where it lies.
    assert str(tmp_path) not in path.with_suffix('.json').read_text()


def test_fits_on_photographs(fit_prior, tmp_path, photographs):
    out = ['--out', str(tmp_path / 'prior.pth')]
    report = fit_prior.main([*SMALL, '--images', f'{photographs}:12', *out])
    assert report['fitted_on'] == 'photographs:12'
    assert report['num_images'] == 8
    report = fit_prior.main([*SMALL, '--images', str(photographs), *out])
    assert report['fitted_on'] == 'photographs'


def test_fills_the_tables_of_a_page(fit_prior, tmp_path):
    page = tmp_path / 'page.md'
    page.write_text(
        'Before\n<!-- table: quadratic synthetic -->\nold\n<!-- end -->\n'
        '<!-- table: paper synthetic -->\nkept\n<!-- end -->\nAfter\n'
    )
    options = ['--out', str(tmp_path / 'p.pth'), '--docs', str(page)]
    report = fit_prior.main([*SMALL, *options])
    text = page.read_text()
    assert to_table(report['judged']['synthetic']['rows']) in text
    assert 'old' not in text
    assert 'kept' in text
    assert text.startswith('Before')
    assert text.endswith('After\n')
    fit_prior.main([*SMALL, *options])
    assert page.read_text() == text


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--images', 'no/such/folder'], 'no images'),
        (['--images', 'no/such/folder:big'], 'not a whole number'),
        (['--judge', 'no/name'], 'NAME=SOURCE'),
    ],
)
def test_wrong_sources_are_named(fit_prior, options, message, tmp_path):
    out = tmp_path / 'prior.pth'
    with pytest.raises(ConfigError, match=message) as caught:
        fit_prior.main([*SMALL, *options, '--out', str(out)])
    assert options[1] in str(caught.value)
    assert not out.exists()


def test_errors_end_it_with_the_message_alone():
    done = subprocess.run(
        [sys.executable, str(TOOL), '--images', 'no/such/folder'],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith('fit_prior: There are no images')
    assert 'Traceback' not in done.stderr
