"""Test the gathering of policy logs and what the plots show of them."""

from __future__ import annotations

import re
from inspect import signature

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from mmtst.augmentation.base import MAGNITUDE_OPERATORS, OPERATORS
from mmtst.engine.hooks import PolicySearchHook
from mmtst.utils.errors import ConfigError
from mmtst.visualization import policy_plots
from mmtst.visualization.policy_plots import (
    plot_all,
    plot_selected,
    policy_curves,
)


def entry(search, step, value):
    return dict(
        search=search,
        step=step,
        prob={name: value + i / 100 for i, name in enumerate(OPERATORS)},
        mag=dict.fromkeys(MAGNITUDE_OPERATORS, 1 - value),
    )


ENTRIES = [
    entry(0, 0, 0.5),
    entry(0, 1, 0.4),
    entry(0, 2, 0.3),
    entry(1, 0, 0.3),
    entry(1, 1, 0.2),
]


@pytest.fixture
def figures(monkeypatch):
    """Keep the figures that are made."""
    made = []

    class Kept(Figure):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            made.append(self)

    monkeypatch.setattr(policy_plots, 'Figure', Kept)
    return made


def test_updates_go_on_from_search_to_search():
    curves = policy_curves(ENTRIES, 'pair')
    assert curves.updates.tolist() == [0, 1, 2, 2, 3]
    assert curves.search_starts == (0, 2)
    assert curves.probabilities['ShearX'] == pytest.approx(
        np.array([0.5, 0.4, 0.3, 0.3, 0.2]) + 0.01
    )
    assert curves.magnitudes['Color'].tolist() == [0.5, 0.6, 0.7, 0.7, 0.8]
    assert list(curves.probabilities) == list(OPERATORS)
    assert list(curves.magnitudes) == list(MAGNITUDE_OPERATORS)


def test_long_names_of_the_columns_are_read_too():
    renamed = [
        dict(
            search=row['search'],
            step=row['step'],
            probabilities=row['prob'],
            magnitudes=row['mag'],
        )
        for row in ENTRIES
    ]
    curves = policy_curves(renamed, 'pair')
    assert curves.magnitudes['Color'].tolist() == [0.5, 0.6, 0.7, 0.7, 0.8]


def test_log_without_lines_says_so():
    with pytest.raises(ConfigError, match='no search has run yet') as error:
        policy_curves([], 'work_dirs/x')
    named = re.search(r'`(\w+)` of PolicySearchHook', str(error.value))
    assert named is not None
    assert named[1] in signature(PolicySearchHook).parameters


def test_line_without_an_operator_is_refused():
    broken = entry(0, 0, 0.5)
    del broken['prob']['Rotate']
    with pytest.raises(ConfigError, match="lack 'prob' of Rotate"):
        policy_curves([broken], 'x')


@pytest.mark.parametrize(
    'change',
    [
        {'search': None},
        {'search': [0]},
        {'step': 'one'},
        {'step': 10**400},
        {'prob': 3},
        {'prob': {**ENTRIES[0]['prob'], 'Rotate': None}},
        {'prob': {**ENTRIES[0]['prob'], 'Rotate': [0.5]}},
        {'mag': {**ENTRIES[0]['mag'], 'ShearX': 10**400}},
        {'mag': {**ENTRIES[0]['mag'], 'ShearX': float('nan')}},
    ],
)
def test_what_is_no_number_is_named(change):
    with pytest.raises(ConfigError, match='line 2') as error:
        policy_curves([ENTRIES[0], {**ENTRIES[1], **change}], 'a run')
    assert 'a run' in str(error.value)


def test_all_shows_25_panels(figures, tmp_path):
    plot_all([policy_curves(ENTRIES, 'pair')], tmp_path / 'deep' / 'all.png')
    axes = [axis for axis in figures[0].axes if axis.get_visible()]
    titles = [axis.get_title() for axis in axes]
    want = [f'{name}: probability' for name in OPERATORS]
    want += [f'{name}: magnitude' for name in MAGNITUDE_OPERATORS]
    assert titles == want
    with Image.open(tmp_path / 'deep' / 'all.png') as picture:
        assert picture.format == 'PNG'
    assert (tmp_path / 'deep' / 'all.png').stat().st_size < 300_000


def test_selected_overlays_runs(figures, tmp_path):
    runs = [policy_curves(ENTRIES, 'a'), policy_curves(ENTRIES[:3], 'b')]
    plot_selected(runs, tmp_path / 'some.png')
    axes = [axis for axis in figures[0].axes if axis.get_visible()]
    # The paper's Figure 2: five probabilities and three magnitudes.
    assert len(axes) == 8
    lines = {line.get_label(): line for line in axes[0].get_lines()}
    assert lines['a'].get_xdata().tolist() == [0, 1, 2, 2, 3]
    assert lines['b'].get_ydata() == pytest.approx([0.51, 0.41, 0.31])
    assert lines['a'].get_color() != lines['b'].get_color()


def test_operator_without_magnitude_has_one_panel(figures, tmp_path):
    runs = [policy_curves(ENTRIES, 'a')]
    plot_selected(runs, tmp_path / 'some.png', ['Invert'])
    visible = [axis for axis in figures[0].axes if axis.get_visible()]
    assert [axis.get_title() for axis in visible] == ['Invert: probability']


@pytest.mark.parametrize('names', [['Blur'], []])
def test_unknown_operators_are_refused(tmp_path, names):
    with pytest.raises(ConfigError, match='ShearX'):
        plot_selected([policy_curves(ENTRIES, 'a')], tmp_path / 'x', names)
    assert not (tmp_path / 'x').exists()
