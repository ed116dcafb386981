"""Test the demo: its plan, its table, and all of it at the smallest size."""

from __future__ import annotations

import json

import pytest
from PIL import Image


@pytest.fixture
def demo(load_tool):
    return load_tool('demo')


def metrics(ap):
    return {'coco/bbox_mAP': ap, 'coco/bbox_mAP_50': 2 * ap}


def write_log(folder, *lines):
    log = folder / 'vis_data' / 'scalars.json'
    log.parent.mkdir(parents=True)
    log.write_text(''.join(json.dumps(line) + '\n' for line in lines))


def test_plan_is_in_order_and_points_at_the_teacher(demo, tmp_path):
    args = demo.parse_args(['--work-dir', str(tmp_path)])
    steps = demo.plan(args)
    seen = set()
    for step in steps:
        assert seen.issuperset(step.needs)
        seen.add(step.name)
        assert str(tmp_path) in str(step.output)
    commands = {step.name: step.command for step in steps}
    teacher = demo.final_checkpoint(args, 'teacher')
    assert f'model.teacher.checkpoint={teacher}' in commands['kd']
    assert f'model.teacher_ckpt={teacher}' in commands['tst']
    outputs = [step.output for step in steps]
    assert len(set(outputs)) == len(outputs)


def test_options_reach_their_trainings(demo, tmp_path):
    arguments = ['--work-dir', str(tmp_path), '--cfg-options']
    arguments += ['train_cfg.max_epochs=3', '--tst-options', 'a.b=1']
    args = demo.parse_args(arguments)
    commands = {step.name: step.command for step in demo.plan(args)}
    for name in demo.RUNS:
        assert 'train_cfg.max_epochs=3' in commands[name]
        assert ('a.b=1' in commands[name]) == (name == 'tst')
    path = demo.final_checkpoint(args, 'teacher')
    assert path == tmp_path / 'teacher' / 'epoch_3.pth'


def test_metrics_are_those_of_the_last_validation(demo, tmp_path):
    write_log(tmp_path / '2026_01', metrics(0.1), {'loss': 1.0})
    write_log(tmp_path / '2026_02', metrics(0.2), metrics(0.3), {'loss': 1.0})
    write_log(tmp_path / '2026_03', {'loss': 1.0})
    assert demo.last_metrics(tmp_path)['coco/bbox_mAP'] == 0.3


def test_no_detections_are_an_ap_of_zero(demo, tmp_path):
    write_log(tmp_path / '2026_01', {'loss': 1.0})
    assert set(demo.last_metrics(tmp_path).values()) == {0.0}


def test_missing_log_says_where(demo, tmp_path):
    with pytest.raises(RuntimeError, match=str(tmp_path)):
        demo.last_metrics(tmp_path)


def test_table(demo):
    values = {'teacher': 0.5, 'student': 0.25, 'kd': 0.3, 'tst': 0.3125}
    text = demo.table({name: metrics(ap) for name, ap in values.items()})
    lines = [line.split() for line in text.splitlines()]
    assert lines[0] == ['AP', 'AP50']
    assert lines[1] == ['the', 'teacher', '50.0', '100.0']
    assert lines[4][-2:] == ['31.2', '62.5']


@pytest.mark.slow
def test_the_demo_runs_and_goes_on(demo, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = ['--num-train', '8', '--num-val', '4', '--size', '64']
    arguments += ['--cfg-options', 'train_cfg.max_epochs=2']
    arguments += ['train_cfg.val_interval=1']
    arguments += ['--tst-options', 'custom_hooks.0.at=[1]']
    arguments += ['custom_hooks.0.iterations=2']
    demo.main(arguments)
    text = capsys.readouterr().out
    for title in demo.RUNS.values():
        assert title in text
    for name in demo.FILES.values():
        assert (tmp_path / 'demo_output' / name).stat().st_size > 0
        assert f'demo_output/{name}' in text
    with Image.open('demo_output' / demo.GRID) as picture:
        assert picture.width > 200
    demo.main(arguments)
    again = capsys.readouterr().out
    assert again.count('skipped') == len(demo.plan(demo.parse_args([])))
    assert again.count('done in') == 0
