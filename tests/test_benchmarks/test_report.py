"""Lines become a table: means, paired differences, what could be found."""

from __future__ import annotations

import math
import statistics
from unittest.mock import ANY

import numpy as np
import pytest
from _plots import plot_curves, plot_differences
from _searches import findings_table, policy_table, search_tests_table
from _significance import holm, p_value, significance_table
from _spread import detectable, interval
from collect_runs import read_lines
from report import table, versions

from mmtst.augmentation import MAGNITUDE_OPERATORS, OPERATORS

SCHEDULE = {'optimizer': {'type': 'SGD', 'lr': 0.1}, 'batch_size': 128}
MATRIX = {
    'name': 'tiny',
    'seeds': [0, 1, 2],
    'baseline': 'KD',
    'paper': {'TST': 76.58},
    'arms': {
        'KD': {'config': 'kd'},
        'TST': {'config': 'tst'},
    },
}


def line(name, seed, top1, epochs=12):
    return {
        'name': name,
        'task': 'classification',
        'seed': seed,
        'epochs': epochs,
        'schedule': SCHEDULE,
        'images': 'as they are',
        'top1': top1,
        'seconds': 100,
        'curve': [[epochs // 2, top1 - 10], [epochs, top1]],
    }


def lines(**values):
    return [
        line(name, seed, value)
        for name, column in values.items()
        for seed, value in enumerate(column)
    ]


def row(text, arm):
    (found,) = [x for x in text.splitlines() if x.startswith(f'| {arm} |')]
    return [cell.strip() for cell in found.strip('|').split('|')]


def test_differences_are_paired_by_seed():
    made = lines(KD=[70.0, 72.0, 74.0], TST=[71.0, 73.5, 74.5])
    made += [line('teacher', 0, 80.0, 240), line('other', 0, 30.0, 2)]
    text = table(MATRIX, made)
    assert 'other' not in text
    assert row(text, 'teacher')[:3] == ['teacher', '1', '80.00']
    assert row(text, 'KD') == ['KD', '3', '72.00 +- 2.00', '', '', '', '', '']
    sd = statistics.stdev([1.0, 1.5, 0.5])
    assert row(text, 'TST') == [
        'TST',
        '3',
        '73.00 +- 1.80',
        '76.58',
        f'+1.00 +- {sd:.2f}',
        '3',
        f'{detectable(sd, 3, paired=True):.2f}',
        '',
    ]


def test_differences_that_a_t_test_finds_are_marked():
    """To each of the arms that are named; t is 3.5 and 8, 4.3 is needed."""
    made = lines(KD=[70.0, 72.0, 74.0], TST=[71.0, 73.5, 74.5])
    text = table(MATRIX, made, baselines=['KD', 'TST'])
    assert row(text, 'TST')[4:-1] == ['+1.00 +- 0.50', '3', ANY, '', '', '']
    assert row(text, 'KD')[7] == '-1.00 +- 0.50'
    made = lines(KD=[70.0, 72.0, 74.0], TST=[71.0, 73.5, 75.5])
    assert row(table(MATRIX, made), 'TST')[4] == '+1.33 +- 0.29 *'


def test_a_seed_that_only_one_arm_has_is_left_out_of_the_difference():
    text = table(MATRIX, lines(KD=[70.0], TST=[71.0, 90.0]))
    assert row(text, 'TST')[-4:-1] == ['+1.00', '1', '']


def test_schedules_are_not_mixed():
    made = lines(KD=[70.0]) + [line('TST', 0, 75.0, epochs=24)]
    with pytest.raises(SystemExit, match='different schedules: KD, TST'):
        table(MATRIX, made)
    made[1] = line('TST', 0, 75.0)
    made[1]['schedule'] = {**SCHEDULE, 'batch_size': 64}
    with pytest.raises(SystemExit, match='different schedules: KD, TST'):
        table(MATRIX, made)


@pytest.mark.parametrize(
    ('seeds', 'paired', 'expected'),
    [(3, False, 0.77), (5, False, 0.51), (5, True, 0.42)],
)
def test_what_could_be_found_at_a_quarter_of_a_point(seeds, paired, expected):
    # Differences of pairs that correlate by a half have the arms' spread.
    assert detectable(0.25, seeds, paired) == pytest.approx(expected, abs=5e-3)


def test_four_of_five_differences_of_that_size_are_found():
    """By simulation, not by the formula."""
    rng = np.random.default_rng(0)
    shift = detectable(1.0, 5, paired=True)
    drawn = rng.normal(shift, 1.0, (20_000, 5))
    t = drawn.mean(1) / (drawn.std(1, ddof=1) / math.sqrt(5))
    critical = 2.776  # of Student's t, 4 degrees of freedom, two-sided 5 %
    assert np.mean(t > critical) == pytest.approx(0.8, abs=0.01)


def test_a_line_cut_short_is_left_out(tmp_path):
    file = tmp_path / 'x.jsonl'
    assert read_lines(file) == []
    file.write_text('{"name": "KD"}\n{"name": "TS')
    assert read_lines(file) == [{'name': 'KD'}]


def test_plots_are_drawn(tmp_path):
    made = lines(KD=[70.0, 72.0], TST=[71.0, 73.0])
    for draw in (plot_curves, plot_differences):
        path = tmp_path / 'deep' / f'{draw.__name__}.png'
        draw(MATRIX, made, path)
        assert path.read_bytes()[:4] == b'\x89PNG'
    with pytest.raises(SystemExit, match='no arm has a seed of the baseline'):
        plot_differences(MATRIX, lines(TST=[71.0]), path)


def test_the_interval_of_a_mean_is_students():
    # 2.776 of Student's t with 4 degrees of freedom.
    values = [1.0, 2.0, 3.0, 4.0, 5.0]
    error = statistics.stdev(values) / math.sqrt(5)
    assert interval(values) == pytest.approx(2.776 * error, rel=1e-3)
    assert interval([1.0]) == 0


def search(objective, rate, seconds=10.0):
    columns = {
        name: {
            'objective': objective,
            'gap_rate': None if name == 'originals' else 0.5,
            'teacher_right': 0.75,
            'student_wrong': 0.5,
            'expected_operators': 2.0,
        }
        for name in ('originals', 'searched')
    }
    return {
        'iterations': 50,
        'seconds': seconds,
        'columns': columns,
        'prob': dict.fromkeys(OPERATORS, rate),
        'mag': dict.fromkeys(MAGNITUDE_OPERATORS, 1 - rate),
    }


def test_the_cost_of_searching_is_counted():
    made = lines(KD=[70.0], TST=[71.0, 72.0])
    made[1]['searches'] = [search(1.0, 0.5), search(2.0, 0.5)]
    made[2]['searches'] = [search(1.0, 0.5), search(2.0, 0.5, 30.0)]
    text = table(MATRIX, made)
    assert row(text, 'TST')[-1] == '30 %'
    assert row(text, 'KD')[-1] == ''
    # What the other has taken until the fork counts, or nothing is said.
    for later in made[1:]:
        later.update({'from': 'KD', 'fork': 6})
    assert row(table(MATRIX, made), 'TST')[-1] == ''
    made.append(line('KD', 1, 70.0))
    assert row(table(MATRIX, made), 'TST')[-1] == '20 %'


def test_a_table_of_some_arms_keeps_the_differences():
    text = table(MATRIX, lines(KD=[70.0], TST=[71.0]), ['TST'])
    assert '| KD |' not in text
    assert row(text, 'TST')[-4:-1] == ['+1.00', '1', '']


def test_arms_without_lines_are_nothing_to_compare_with():
    made = lines(TST=[71.0])
    assert 'against' not in table(MATRIX, made)
    with pytest.raises(SystemExit, match=r"tiny: no lines of \['KD'\] yet"):
        table(MATRIX, made, baselines=['KD'])


def test_versions_are_counted():
    made = lines(KD=[70.0, 71.0], TST=[71.0])
    made[0]['commits'] = made[1]['commits'] = ['abc']
    assert versions(made) == 'abc (2); unknown (1)'


def test_what_searches_found_is_averaged_over_the_seeds():
    made = lines(TST=[71.0, 72.0])
    made[0]['searches'] = [search(1.0, 0.2), search(2.0, 0.4)]
    made[1]['searches'] = [search(3.0, 0.4), search(2.0, 0.4)]
    made[1]['searches'][1]['signal_to_noise'] = 1.25
    findings = findings_table(made)
    assert '| 1 | searched | 2.00 +- 1.41 | 0.50 +- 0.00 |' in findings
    assert '| 1 | originals | 2.00 +- 1.41 |  | 0.75 +- 0.00 |' in findings
    # One of the lines was written when searches did not say how noisy.
    ends = [text.split('|')[-2].strip() for text in findings.splitlines()]
    assert ends[2:] == ['', '', '', '1.25']
    policy = policy_table(made)
    assert row(policy, 'Rotate')[1:3] == ['0.30 +- 0.14', '0.70 +- 0.14']
    assert row(policy, 'Cutout')[1:] == [
        '0.30 +- 0.14',
        '',
        '0.40 +- 0.00',
        '',
    ]
    with pytest.raises(SystemExit, match='no line of this arm has a search'):
        policy_table(lines(KD=[70.0]))


def test_a_p_value_is_students():
    # t is 2 sqrt(3) with 2 degrees of freedom, which has a closed form.
    t = 2 * math.sqrt(3)
    expected = 1 - t / math.sqrt(2 + t**2)
    assert p_value([0.5, 1.0, 1.5]) == pytest.approx(expected)
    assert p_value([-0.5, -1.0, -1.5]) == pytest.approx(expected)
    assert p_value([1.0]) is None
    assert p_value([1.0, 1.0]) is None


def test_p_values_are_corrected_for_their_number():
    # Three times the smallest, twice the next; never below one before it.
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_surest_differences_come_first():
    values = {
        'KD': {0: 70.0, 1: 72.0, 2: 74.0},
        'loose': {0: 70.0, 1: 75.0, 2: 74.0},
        'TST': {0: 70.5, 1: 73.0, 2: 75.5},
        'lonely': {0: 99.0},
    }
    text = significance_table(values, 'KD', [*values, 'not run'])
    assert '| p, 2 arms |' in text
    assert [line.split(' |')[0] for line in text.splitlines()[2:]] == [
        '| TST',
        '| loose',
    ]
    p = p_value([0.5, 1.0, 1.5])
    cells = ['TST', '+1.00 +- 0.50', '3', f'{p:.2g}', f'{2 * p:.2g}']
    assert row(text, 'TST') == cells


def test_policies_found_are_compared_batch_by_batch():
    made = lines(TST=[71.0, 72.0])
    for entry, better in zip(made, (0.1, 0.3), strict=True):
        entry['searches'] = [search(1.0, 0.2)]
        entry['searches'][0]['columns']['searched']['objective'] -= better
    text = search_tests_table(made)
    p = p_value([-0.1, -0.3])
    # The originals have no rate here, and nothing is made up for it.
    expected = f'| 1 | originals | 2 | -0.200 +- 0.141 | {p:.2g} |  |  |'
    assert text.splitlines()[2:] == [expected]
