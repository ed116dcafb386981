"""Test the demo: its plan, its table, and all of it at the smallest size."""

from __future__ import annotations

import json

import pytest
from PIL import Image


@pytest.fixture
def demo(load_tool):
    return load_tool('demo')


TRAINING = {'loss': 1.0, 'time': 0.1, 'step': 10}
NO_METRICS = {'data_time': 0.1, 'time': 0.1, 'step': 2}
EMPTY = '- ERROR - The testing results of the whole dataset is empty.'


TASKS = ('det', 'seg')


def metrics(ap):
    """Return the columns of the table, in percent."""
    return {'AP': 100 * ap, 'AP50': 200 * ap}


def validation(ap):
    return {'coco/bbox_mAP': ap, 'coco/bbox_mAP_50': 2 * ap} | NO_METRICS


def write_log(folder, *lines):
    log = folder / 'vis_data' / 'scalars.json'
    log.parent.mkdir(parents=True)
    log.write_text(''.join(json.dumps(line) + '\n' for line in lines))


@pytest.mark.parametrize('task', TASKS)
def test_plan_is_in_order_and_points_at_the_teacher(demo, tmp_path, task):
    args = demo.parse_args(['--task', task, '--work-dir', str(tmp_path)])
    steps = demo.plan(args)
    seen = set()
    for step in steps:
        assert seen.issuperset(step.needs)
        seen.add(step.name)
        assert str(tmp_path) in str(step.output)
    commands = {step.name: step.command for step in steps}
    teacher = demo.final_checkpoint(args, 'teacher')
    assert f'model.teacher_ckpt={teacher}' in commands['kd']
    assert f'model.teacher_ckpt={teacher}' in commands['tst']
    outputs = [step.output for step in steps]
    assert len(set(outputs)) == len(outputs)
    layout = {'det': 'coco', 'seg': 'cityscapes'}[task]
    assert f'--layout={layout}' in commands['data']
    for name in demo.RUNS:
        (config,) = (a for a in commands[name] if 'configs' in a)
        assert f'demo/{task}/{name}.py' in config


@pytest.mark.parametrize('task', TASKS)
def test_the_teacher_of_the_configs_is_that_of_a_run(demo, task):
    """The configs name it, for those who train by hand after a demo."""
    args = demo.parse_args(['--task', task])
    for name in demo.DISTILLED:
        cfg = demo._read_config(args, name)
        path = demo.final_checkpoint(args, 'teacher')
        assert cfg.model.teacher_ckpt == str(path)


def test_each_task_has_a_folder_of_its_own(demo):
    folders = {demo.parse_args(['--task', t]).work_dir for t in TASKS}
    assert len(folders) == len(TASKS)
    assert demo.parse_args([]).work_dir == 'demo_output'


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
    arguments = ['--task', 'seg', '--work-dir', str(tmp_path)]
    arguments += ['--cfg-options', 'train_cfg.max_iters=7']
    args = demo.parse_args(arguments)
    path = demo.final_checkpoint(args, 'teacher')
    assert path == tmp_path / 'teacher' / 'iter_7.pth'


def test_metrics_are_those_of_the_last_validation(demo, tmp_path):
    search = {'search/objective': 1.0, 'policy/prob/Cutout': 0.5, 'step': 3}
    write_log(tmp_path / '2026_01', validation(0.1), TRAINING)
    write_log(
        tmp_path / '2026_02',
        validation(0.2),
        TRAINING,
        validation(0.3),
        search,
        TRAINING,
    )
    write_log(tmp_path / '2026_03', TRAINING, search)
    assert demo.last_metrics(tmp_path) == metrics(0.3)


def test_metrics_of_segmentors_are_percent_already(demo, tmp_path):
    values = {'aAcc': 90.0, 'mIoU': 12.5, 'mAcc': 25.0}
    write_log(tmp_path / '2026_01', TRAINING, values | NO_METRICS)
    found = demo.last_metrics(tmp_path, 'seg')
    assert found == {'mIoU': 12.5, 'mAcc': 25.0}


@pytest.mark.parametrize(
    'lines',
    [
        [TRAINING],
        [TRAINING, NO_METRICS],
        [TRAINING, validation(0.3), TRAINING, NO_METRICS],
    ],
)
def test_no_detections_are_an_ap_of_zero(demo, tmp_path, lines):
    write_log(tmp_path / '2026_01', *lines)
    assert set(demo.last_metrics(tmp_path).values()) == {0.0}


@pytest.mark.parametrize(
    ('ends', 'ap'), [((EMPTY, 'Done'), 0.3), (('Done', EMPTY), 0.0)]
)
def test_metrics_that_mmengine_repeats_do_not_count(demo, tmp_path, ends, ap):
    write_log(tmp_path / '2026_01', validation(0.3), validation(0.3))
    lines = []
    for epoch, end in enumerate(ends, start=1):
        lines += ['- INFO - Evaluating bbox...', end]
        lines += [f'- INFO - Epoch(val) [{epoch}][4/4]  coco/bbox_mAP: 0.3']
    path = tmp_path / '2026_01' / '2026_01.log'
    path.write_text('\n'.join(lines))
    assert demo.last_metrics(tmp_path) == metrics(ap)


def bases(demo, folder):
    args = demo.parse_args(['--work-dir', str(folder)])
    return {step.name: step.basis for step in demo.plan(args)}


def test_an_edited_config_changes_the_steps_that_read_it(
    demo, tmp_path, monkeypatch
):
    before = bases(demo, tmp_path)
    config = tmp_path / 'tst.py'
    text = f'_base_ = {str(demo._config("det", "tst"))!r}\n'
    # In what is merged into the teacher's own file.
    text += 'model = dict(teacher=dict(cfg_options=dict(neck=dict(a=1))))\n'
    config.write_text(text)
    found = demo._config
    monkeypatch.setattr(
        demo,
        '_config',
        lambda task, name: config if name == 'tst' else found(task, name),
    )
    after = bases(demo, tmp_path)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {'tst', 'export', 'browse'}


def test_an_edited_model_file_changes_the_steps_too(
    demo, tmp_path, monkeypatch
):
    before = bases(demo, tmp_path)

    def resolve(cfg):
        if 'architecture' in cfg.model:
            cfg.model.architecture = dict(type='Other')

    monkeypatch.setattr(demo, 'resolve_models', resolve)
    after = bases(demo, tmp_path)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {'kd', 'tst', 'export', 'browse'}


def test_edited_code_and_another_version_change_all_steps(
    demo, tmp_path, monkeypatch
):
    seen = [bases(demo, tmp_path)]
    assert bases(demo, tmp_path) == seen[0]
    with monkeypatch.context() as patch:
        patch.setattr(demo, '__version__', '99')
        seen.append(bases(demo, tmp_path))
    package = tmp_path / 'package'
    (package / '__pycache__').mkdir(parents=True)
    monkeypatch.setattr(demo, 'PACKAGE', package)
    for text in ('one', 'two'):
        (package / 'module.py').write_text(text)
        seen.append(bases(demo, tmp_path))
    (package / '__pycache__' / 'module.pyc').touch()
    assert bases(demo, tmp_path) == seen[-1]
    for name in seen[0]:
        assert len({step[name] for step in seen}) == len(seen)


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


LENGTHS = {
    'det': ('train_cfg.max_epochs=2', 'train_cfg.val_interval=1'),
    'seg': ('train_cfg.max_iters=2', 'train_cfg.val_interval=1'),
}


@pytest.mark.slow
@pytest.mark.parametrize('task', TASKS)
def test_the_demo_runs_and_goes_on(demo, tmp_path, monkeypatch, capsys, task):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / demo.TASKS[task].work_dir
    arguments = ['--task', task]
    arguments += ['--num-train', '8', '--num-val', '4', '--size', '64']
    arguments += ['--cfg-options', *LENGTHS[task]]
    # After two steps on eight images it knows nothing.
    arguments += ['default_hooks.teacher_check.enabled=False']
    arguments += ['--tst-options', 'custom_hooks.0.at=[1]']
    arguments += ['custom_hooks.0.iterations=2']
    demo.main(arguments)
    text = capsys.readouterr().out
    for title in demo.RUNS.values():
        assert title in text
    for name in demo.FILES.values():
        assert (folder / name).stat().st_size > 0
        assert f'{folder.name}/{name}' in text
    for column in demo.TASKS[task].metrics:
        assert column in text
    with Image.open(folder / demo.GRID) as picture:
        assert picture.width > 200
    demo.main(arguments)
    again = capsys.readouterr().out
    assert again.count('skipped') == len(demo.plan(demo.parse_args([])))
    assert again.count('done in') == 0
