"""Test the plotting tool on logs as searches write them."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from mmtst.augmentation.base import MAGNITUDE_OPERATORS, OPERATORS
from mmtst.utils.errors import ConfigError


def write_log(folder, moves=6):
    folder.mkdir(parents=True)
    lines = [
        dict(
            search=search,
            step=step,
            epoch=search + 1,
            iter=10 * search,
            prob=dict.fromkeys(OPERATORS, 0.5 + 0.01 * step),
            mag=dict.fromkeys(MAGNITUDE_OPERATORS, 0.5 - 0.01 * step),
        )
        for search in range(2)
        for step in range(moves)
    ]
    path = folder / 'policy.jsonl'
    path.write_text(''.join(json.dumps(line) + '\n' for line in lines))
    return path


def test_two_runs_make_two_plots(load_tool, tmp_path, capsys):
    first = write_log(tmp_path / 'r50')
    write_log(tmp_path / 'r18' / '2026')
    out = tmp_path / 'plots'
    load_tool('plot_policy').main(
        [str(first), str(tmp_path / 'r18'), '--out-dir', str(out)]
    )
    printed = capsys.readouterr().out
    for name in ('policy_selected.png', 'policy_all.png'):
        with Image.open(out / name) as picture:
            assert picture.width > 500
        assert str(out / name) in printed
        assert (out / name).stat().st_size < 300_000


def test_labels_must_match(load_tool, tmp_path):
    path = str(write_log(tmp_path / 'run'))
    with pytest.raises(ConfigError, match='2 labels for 1 files'):
        load_tool('plot_policy').main([path, '--labels', 'a', 'b'])


@pytest.mark.parametrize('name', ['gone.jsonl', '.'])
def test_missing_log_is_named(load_tool, tmp_path, name):
    with pytest.raises(ConfigError, match='policy log is not there'):
        load_tool('plot_policy').main([str(tmp_path / name)])


def test_unknown_operator_is_named(load_tool, tmp_path, capsys):
    path = str(write_log(tmp_path / 'run'))
    with pytest.raises(SystemExit):
        load_tool('plot_policy').main(
            [path, '--operators', 'Blur', '--out-dir', str(tmp_path)]
        )
    said = capsys.readouterr().err
    assert 'Blur' in said
    assert 'ShearX' in said
