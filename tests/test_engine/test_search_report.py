"""Test the report of a search."""

from __future__ import annotations

import math
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtst.augmentation.base import Policy
from mmtst.engine.search_report import (
    SearchReport,
    build_report,
    signal_to_noise,
)
from mmtst.engine.search_types import SearchSummary


def _summary() -> SearchSummary:
    generator = torch.Generator().manual_seed(0)
    return SearchSummary(
        start=Policy(torch.zeros(14), torch.zeros(11)),
        end=Policy(
            torch.linspace(-2, 2, 14) + 1, torch.linspace(-1, 1, 11) + 1
        ),
        iterations=10,
        updates=8,
        empty=1,
        nonfinite=1,
        overflows=0,
        gradients=torch.randn(8, 25, generator=generator).double(),
        lr=0.04,
        seconds=3.0,
    )


def _report(model: Any, number: int = 2, **options: Any) -> SearchReport:
    batches = [
        {'inputs': [torch.full((2,), float(i))] * 3, 'data_samples': [0.0] * 3}
        for i in range(number)
    ]
    return build_report(
        model, batches, _summary(), seed=5, autocast=nullcontext, **options
    )


def test_columns_hold_the_means_over_common_batches_and_draws(
    make_model,
) -> None:
    model = make_model()
    report = _report(model, permutations=2)
    assert list(report.columns) == [
        'originals',
        'before',
        'searched',
        'permuted',
    ]
    seen = model.evaluations
    assert len(seen) == 2 * 5
    # The originals are not drawn for; all others share draw and batch.
    assert seen[0].draw is None
    for i in (0, 1):
        column = seen[i::2]
        assert len({tuple(each.inputs) for each in column}) == 1
        assert len({tuple(each.draw) for each in column[1:]}) == 1
        assert len({each.global_draw for each in column}) == 1
    assert seen[2].draw != seen[3].draw
    for name, evaluated in (('before', seen[2:4]), ('searched', seen[4:6])):
        expected = 0.0
        for each in evaluated:
            theta = torch.cat(list(each.policy))
            noise = 0.1 * torch.tensor(each.draw)
            expected += float((theta - 1.5 + noise).square().mean()) / 2
        column = report.columns[name]
        assert column['T_cls'] == pytest.approx(expected, rel=1e-5)
        assert column['objective'] == pytest.approx(
            column['T_cls'] + column['S_cls'], rel=1e-5
        )
        assert column['gap_rate'] == pytest.approx(0.25)
        assert column['teacher_right'] == pytest.approx(0.75)
        assert column['objects_kept'] == pytest.approx(0.9)
        assert column['positives'] == 20
        assert column['batches'] == 2
    assert report.columns['originals']['objects_kept'] == 1


def test_what_the_preprocessor_draws_is_the_same_in_all_reports(
    make_model, monkeypatch
) -> None:
    def drawn(before: int) -> list[float]:
        torch.manual_seed(before)
        model = make_model()
        numbers: list[float] = []
        prepare = model.prepare_search_batch

        def mixing(data: Any) -> Any:
            numbers.append(float(torch.rand(())))
            return prepare(data)

        monkeypatch.setattr(model, 'prepare_search_batch', mixing)
        _report(model)
        return numbers

    first = drawn(before=1)
    assert drawn(before=2) == first
    assert first[0] != first[1]


def test_expected_operators_is_number_times_mean_rate(make_model) -> None:
    columns = _report(make_model()).columns
    mean = float(_summary().end.probabilities.mean())
    assert columns['originals']['expected_operators'] == 0
    assert columns['before']['expected_operators'] == pytest.approx(4 * 0.5)
    for name in ('searched', 'permuted'):
        assert columns[name]['expected_operators'] == pytest.approx(4 * mean)


def test_the_control_exchanges_operators_within_their_kind(make_model) -> None:
    model = make_model()
    _report(model, number=1, permutations=3)
    end = _summary().end
    controls = [each.policy for each in model.evaluations[3:]]
    assert len(controls) == 3
    assert len({tuple(each.th_p.tolist()) for each in controls}) == 3
    for control in controls:
        assert not torch.equal(control.th_p, end.th_p)
        for kind in (slice(0, 5), slice(5, 11), slice(11, 14)):
            assert torch.equal(
                control.th_p[kind].sort().values, end.th_p[kind].sort().values
            )
        # th_p and th_m of an operator move together.
        pairs = set(
            zip(end.th_p[:11].tolist(), end.th_m.tolist(), strict=True)
        )
        assert pairs == set(
            zip(control.th_p[:11].tolist(), control.th_m.tolist(), strict=True)
        )


def test_batches_that_cannot_be_evaluated_are_left_out(make_model) -> None:
    # Evaluations: originals 0 and 1, before 2 and 3, searched 4 and 5.
    model = make_model(broken=(2,), empty=(4, 5))
    columns = _report(model).columns
    assert columns['before']['batches'] == 1
    assert math.isfinite(columns['before']['objective'])
    assert columns['searched']['batches'] == 0
    assert math.isnan(columns['searched']['objective'])


def test_without_batches_the_search_is_still_reported(
    make_model, tmp_path: Path, read_json
) -> None:
    report = _report(make_model(), number=0)
    assert report.columns == {}
    assert report.search['updates'] == 8
    assert 'Rotate' in report.table()
    report.write(tmp_path / 'search_0.json')
    assert read_json(tmp_path / 'search_0.json')['columns'] == {}


def test_file_and_table(make_model, tmp_path: Path, read_json) -> None:
    report = _report(make_model(empty=(4, 5)))
    path = tmp_path / 'search_0.json'
    report.write(path)
    content = read_json(path)
    assert content['columns']['searched']['objective'] is None
    assert content['columns']['before']['gap_rate'] == 0.25
    assert content['search']['nonfinite_steps'] == 1
    assert content['policy']['before']['prob']['Invert'] == 0.5
    table = report.table().splitlines()
    assert table[0].split() == ['originals', 'before', 'searched', 'permuted']
    rows = {line.split()[0]: line.split()[1:] for line in table[1:]}
    assert rows['gap_rate'] == ['0.25', '0.25', 'nan', '0.25']
    assert rows['gradient_signal_to_noise'][0] != 'nan'
    assert len(rows['Rotate']) == 4
    assert len(rows['Cutout']) == 2
    assert max(map(len, table)) <= 79


def test_signal_to_noise_by_hand() -> None:
    # Means 2 and 0; variances (n - 1) 2 and 8; n = 2.
    gradients = torch.tensor([[1.0, -2.0], [3.0, 2.0]])
    assert signal_to_noise(gradients) == pytest.approx(
        2 / math.sqrt((2 + 8) / 2)
    )


def test_signal_to_noise_of_noise_is_about_one() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(200, 100, 25, generator=generator).double()
    squares = [signal_to_noise(each) ** 2 for each in noise]
    assert sum(squares) / len(squares) == pytest.approx(1.0, abs=0.1)


@settings(max_examples=20, deadline=None)
@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 100))
def test_signal_to_noise_has_no_scale(scale: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    gradients = torch.randn(5, 25, generator=generator).double() + 1
    assert signal_to_noise(scale * gradients) == pytest.approx(
        signal_to_noise(gradients)
    )


def test_signal_to_noise_at_its_limits() -> None:
    assert math.isnan(signal_to_noise(torch.ones(1, 25)))
    assert math.isnan(signal_to_noise(torch.zeros(0, 25)))
    assert math.isnan(signal_to_noise(torch.zeros(4, 25)))
    assert signal_to_noise(torch.ones(4, 25)) == math.inf
