"""Work dirs become lines and a table: the last evaluation, one schedule."""

import importlib.util
import json
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / 'benchmarks' / 'collect_runs.py'
CONFIG = """
train_cfg = dict({loop})
optim_wrapper = dict(optimizer=dict(type='SGD', lr={lr}))
train_dataloader = dict(batch_size=4, dataset=dict(pipeline=[
    dict(type='Resize', scale=(320, 240), keep_ratio=True)]))
randomness = dict(seed=3)
"""


@pytest.fixture(scope='module')
def collect():
    spec = importlib.util.spec_from_file_location('collect_runs', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def work_dir(tmp_path):
    """Write what a training leaves; each list of lines is one start of it."""

    def write(name, *starts, loop='max_epochs=8', lr=0.1):
        path = tmp_path / name
        for number, lines in enumerate(starts):
            log = path / f'2026{number}' / 'vis_data' / 'scalars.json'
            log.parent.mkdir(parents=True)
            log.write_text(''.join(json.dumps(line) + '\n' for line in lines))
        (path / f'{name}.py').write_text(CONFIG.format(loop=loop, lr=lr))
        return path

    return write


def coco(step, value):
    return {
        'coco/bbox_mAP': value,
        'coco/bbox_mAP_50': value + 0.2,
        'coco/bbox_mAP_75': value + 0.1,
        'step': step,
    }


def test_the_last_evaluation_counts_not_the_best(collect, work_dir):
    path = work_dir('kd', [coco(4, 0.5), {'loss': 1, 'time': 2}, coco(8, 0.4)])
    run = collect.read_run('KD', path)
    assert (run['bbox_mAP'], run['epochs'], run['seed']) == (0.4, 8, 3)
    assert run['seconds_per_step'] == 2
    assert collect.table([run]).split('\n')[-1] == (
        '| KD | 8 | 40.0 | 60.0 | 50.0 |'
    )


def test_a_resumed_run_counts_each_evaluation_once(collect, work_dir):
    path = work_dir('kd', [coco(4, 0.1)], [coco(4, 0.2), coco(8, 0.3)])
    run = collect.read_run('KD', path)
    assert run['curve'] == [[4, 0.2], [8, 0.3]]


def test_the_time_of_all_starts_counts_also_after_a_copy(collect, work_dir):
    """What the files say of their age is that of the copy."""
    path = work_dir('kd', [coco(4, 0.1)], [coco(8, 0.3)])
    for start, end in (('0', '10:00:59'), ('1', '10:01:01')):
        (path / f'2026{start}' / f'2026{start}.log').write_text(
            '2026/01/02 10:00:00 - mmengine - INFO - \n----\n'
            f'2026/01/02 {end} - mmengine - INFO - at 2026/01/03 00:00:00\n'
        )
    assert collect.read_run('KD', path)['seconds'] == 59 + 61


def test_segmentation_counts_iterations_and_is_in_percent(collect, work_dir):
    line = {'mIoU': 41.25, 'mAcc': 50.0, 'aAcc': 90.0, 'step': 200}
    path = work_dir('kd', [line], loop="max_iters=200, type='x'")
    text = collect.table([collect.read_run('KD', path)])
    assert text.split('\n') == [
        '| run | iterations | mIoU | mAcc | aAcc |',
        '|---|--:|--:|--:|--:|',
        '| KD | 200 | 41.2 | 50.0 | 90.0 |',
    ]


def test_refuses_a_run_that_has_not_ended(collect, work_dir):
    with pytest.raises(SystemExit, match='has not ended'):
        collect.read_run('KD', work_dir('kd', [coco(4, 0.5)]))


def test_refuses_a_folder_without_an_evaluation(collect, work_dir):
    with pytest.raises(SystemExit, match='needs an evaluation'):
        collect.read_run('KD', work_dir('kd', [{'loss': 1, 'time': 1}]))


def test_refuses_students_of_different_schedules(collect, work_dir):
    runs = [
        collect.read_run(name, work_dir(name, [coco(8, 0.5)], lr=lr))
        for name, lr in (('teacher', 1), ('KD', 2), ('TST', 3))
    ]
    with pytest.raises(SystemExit, match='different schedules'):
        collect.table(runs)
    assert collect.table(runs[:2])


def test_refuses_runs_of_different_tasks(collect, work_dir):
    line = {'accuracy/top1': 70.0, 'step': 8}
    runs = [
        collect.read_run('KD', work_dir('kd', [coco(8, 0.5)])),
        collect.read_run('TST', work_dir('tst', [line])),
    ]
    with pytest.raises(SystemExit, match='different tasks'):
        collect.table(runs)


@pytest.mark.parametrize(
    'content',
    [
        b'\x80\x81\n',
        b'[1]\n',
        b'3\n',
        b'not found\n',
        b'{"loss": ' + b'9' * 5000 + b'}\n',
        b'[' * 100_000 + b'\n',
    ],
    ids=['no text', 'a list', 'a number', 'no JSON', 'digits', 'deep'],
)
def test_a_line_that_is_none_is_named(collect, tmp_path, content):
    file = tmp_path / 'lines.jsonl'
    file.write_bytes(b'{"name": "kd"}\n' + content)
    with pytest.raises(collect.UnreadableFile, match='lines.jsonl: line 2'):
        collect.read_lines(file)


@pytest.mark.parametrize(
    'line',
    [
        {**coco(8, 0.4), 'step': 'eight'},
        {key: x for key, x in coco(8, 0.4).items() if key != 'step'},
        {**coco(8, 0.4), 'coco/bbox_mAP_50': None},
        {'loss': 1.0, 'step': 1},
        {'loss': 1.0, 'time': 'long', 'step': 1},
        {'loss': 1.0, 'time': 1.0, 'memory': [3], 'step': 1},
    ],
)
def test_a_log_without_its_numbers_is_named(collect, work_dir, line):
    path = work_dir('kd', [line, coco(8, 0.4)])
    with pytest.raises(collect.UnreadableFile, match='scalars.json: no numb'):
        collect.read_run('KD', path)
