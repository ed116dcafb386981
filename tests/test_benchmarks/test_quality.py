"""A matrix is run whole, in pieces, and after being killed; lines stay."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import _running
import pytest
import sceptics  # noqa: F401  # registers
import torchvision_augmentation  # noqa: F401  # registers
import yaml
from _cells import cells
from _lines import add_line, lines_by_key
from _matrix import MatrixError, read_matrix
from _running import take_lock
from _study import Study
from collect_runs import read_lines
from studies import ARMS, ROOT, finish, kill, outcome, start, write_matrix

from mmtst.augmentation.controls import check_control, read_policy
from mmtst.registry import HOOKS, MODELS

DEFAULTS = {
    'augmentation': 'mmtst.AugmentationEncoder',
    'objective': 'mmtst.GapObjective',
}
ALIKE = {'arms': {'a b': {}, 'a-b': {}}, 'baseline': 'a b'}
MATRICES = sorted((ROOT / 'benchmarks' / 'matrices').glob('*.yml'))


@pytest.fixture(scope='module')
def matrix(tmp_path_factory):
    return write_matrix(tmp_path_factory.mktemp('matrix'))


@pytest.fixture(scope='module')
def whole(matrix, tmp_path_factory):
    """Return the folder of a study that was run in one go."""
    folder = tmp_path_factory.mktemp('whole')
    output = finish(start(matrix, folder))
    assert '| TST | 1 |' in output
    return folder


def test_all_cells_have_a_line_and_are_not_trained_again(matrix, whole):
    assert set(outcome(whole)) == {'teacher', *ARMS}
    before = (whole / 'tiny.jsonl').read_bytes()
    assert 'starts' not in finish(start(matrix, whole))
    assert (whole / 'tiny.jsonl').read_bytes() == before


def test_arms_part_at_the_fork(whole):
    """What one has learned until then the other has too."""
    work = whole / 'work' / 'tiny'
    assert not list((work / 'unsearched').rglob('search_*.json'))
    assert list((work / 'TST').rglob('search_0.json'))
    log = (work / 'TST' / '0' / 'output.log').read_text()
    assert 'resumed epoch: 1' in log
    assert 'Epoch(train) [1]' not in log.replace('  ', ' ')
    lines = [
        json.loads(line)
        for line in (whole / 'tiny.jsonl').read_text().splitlines()
    ]
    tst = next(line for line in lines if line['name'] == 'TST')
    assert (tst['from'], tst['fork']) == ('unsearched', 1)
    assert tst['seconds'] > 0
    assert tst['peak_memory_mb'] > 100
    assert str(whole) not in json.dumps(lines)


def test_in_pieces_and_killed_it_ends_the_same(matrix, whole, tmp_path):
    output = finish(start(matrix, tmp_path, '--budget-seconds', '6'), 75)
    assert 'left    TST, seed 0' in output
    # The second time its trainings live on, and it has to wait for them.
    for trainings_too in (True, False):
        process = start(matrix, tmp_path)
        time.sleep(12)
        kill(process, trainings_too)
    lines = tmp_path / 'tiny.jsonl'
    if lines.exists():  # as if it had been killed while it wrote
        lines.write_text(lines.read_text() + '{"name": "TST", "se')
    finish(start(matrix, tmp_path))
    assert outcome(tmp_path) == outcome(whole)


def test_a_validation_that_was_cut_off_is_run_again(matrix, whole, tmp_path):
    """Killed between the last checkpoint and its evaluation."""
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    file = tmp_path / 'tiny.jsonl'
    arm = '"name": "student alone"'
    lines = file.read_text().splitlines(keepends=True)
    file.write_text(''.join(line for line in lines if arm not in line))
    folder = tmp_path / 'work' / 'tiny' / 'student-alone' / '0'
    (log,) = folder.glob('*/vis_data/scalars.json')
    entries = log.read_text().splitlines(keepends=True)
    assert 'accuracy' in entries[-1]
    log.write_text(''.join(entries[:-1]))
    output = finish(start(matrix, tmp_path, '--arms', 'student alone'))
    assert 'starts  student alone' in output
    assert outcome(tmp_path) == outcome(whole)


def test_two_studies_side_by_side_share_the_work(matrix, whole, tmp_path):
    arms = ('--arms', 'student alone')
    both = [start(matrix, tmp_path, *arms) for _ in range(2)]
    output = ''.join(finish(process) for process in both)
    assert output.count('starts  student alone') == 1
    expected = outcome(whole)['student alone']
    assert outcome(tmp_path) == {'student alone': expected}


def test_what_an_arm_goes_on_from_is_trained_to_the_fork(
    matrix, whole, tmp_path
):
    """Where the other's line is not asked for; a teacher's always is."""
    content = yaml.safe_load(matrix.read_text())
    content['arms']['unsearched']['options']['train_cfg.max_epochs'] = 999
    work = Path('work') / 'tiny'
    shutil.copytree(whole / work / 'teacher', tmp_path / work / 'teacher')
    process = start(written(content, tmp_path), tmp_path, '--arms', 'TST')
    output = finish(process)
    assert 'stopped' in output
    assert (tmp_path / work / 'unsearched' / '0' / 'epoch_1.pth').exists()
    assert not (tmp_path / work / 'unsearched' / '0' / 'epoch_99.pth').exists()
    expected = outcome(whole)
    assert outcome(tmp_path) == {n: expected[n] for n in ('teacher', 'TST')}


def test_an_arm_does_not_go_on_from_another_training(matrix, whole, tmp_path):
    """What lies where it looks for its fork was made of something else."""
    shutil.copytree(whole / 'work', tmp_path / 'work')
    shutil.rmtree(tmp_path / 'work' / 'tiny' / 'TST')
    note = tmp_path / 'work' / 'tiny' / 'unsearched' / '0' / 'cell.json'
    made_of = json.loads(note.read_text())
    made_of['options']['train_cfg.max_epochs'] = 4
    note.write_text(json.dumps(made_of))
    output = finish(start(matrix, tmp_path, '--arms', 'TST'), 1)
    assert 'unsearched/0: what lies there was trained otherwise' in output
    assert 'starts' not in output


def test_told_to_end_it_ends_with_what_it_runs(matrix, tmp_path):
    process = start(matrix, tmp_path, '--arms', 'student alone')
    while 'starts' not in process.stdout.readline():
        assert process.poll() is None
    process.terminate()
    finish(process, 143)
    lock = take_lock(tmp_path / 'work' / 'tiny' / 'student-alone' / '0')
    assert lock is not None
    os.close(lock)


def test_lines_of_other_options_are_refused(matrix, whole):
    process = start(matrix, whole, '--set', 'train_cfg.max_epochs=4')
    output = finish(process, 1)
    assert 'give the matrix another name' in output
    assert 'starts' not in output


@pytest.mark.parametrize(
    'change', [{'fork': 2}, {'from': None}, {'teacher': 'other'}]
)
def test_lines_of_another_training_are_refused(
    matrix, whole, tmp_path, change
):
    """Of another fork, or none, or another teacher: all change the arm."""
    content = yaml.safe_load(matrix.read_text())
    content['teachers'] = {'other': content['teacher']}
    content['arms']['TST'].update(change)
    made = list(cells(read_matrix(written(content, tmp_path)), whole / 'work'))
    with pytest.raises(MatrixError, match='line of TST, seed 0 is of another'):
        Study(whole / 'tiny.jsonl', made, 1, None)


def test_a_work_dir_of_other_options_makes_no_line(matrix, whole, tmp_path):
    shutil.copytree(whole / 'work', tmp_path / 'work')
    process = start(matrix, tmp_path, '--set', 'train_cfg.max_epochs=4')
    output = finish(process, 1)
    assert 'was trained otherwise' in output
    assert 'done' not in output
    assert not (tmp_path / 'tiny.jsonl').exists()


def test_what_lies_no_more_is_trained_again(matrix, whole, tmp_path):
    """A line does not stand in for the checkpoint that another arm wants."""
    kept = {'teacher', 'student alone', 'unsearched'}
    lines = (whole / 'tiny.jsonl').read_text().splitlines(keepends=True)
    lines = [line for line in lines if json.loads(line)['name'] in kept]
    (tmp_path / 'tiny.jsonl').write_text(''.join(lines))
    output = finish(start(matrix, tmp_path))
    assert 'starts  teacher' in output
    assert 'starts  unsearched' in output
    assert 'starts  student alone' not in output
    assert outcome(tmp_path) == outcome(whole)
    text = (tmp_path / 'tiny.jsonl').read_text()
    assert text.startswith(''.join(lines))


def test_a_commit_is_marked_when_code_was_edited(tmp_path, monkeypatch):
    """Lines that the studies themselves have written are no edit."""
    monkeypatch.setattr(_running, 'ROOT', tmp_path)
    assert _running.current_commit() == 'unknown'
    code = tmp_path / 'code.py'
    lines = tmp_path / 'benchmarks' / 'results' / 'x.jsonl'
    lines.parent.mkdir(parents=True)
    for file in (code, lines):
        file.touch()
    someone = ('-c', 'user.name=a', '-c', 'user.email=a@b')
    for command in (['init'], ['add', '.'], ['commit', '-m', 'a']):
        subprocess.run(['git', *someone, *command], cwd=tmp_path, check=True)
    lines.write_text('{}')
    clean = _running.current_commit()
    assert re.fullmatch('[0-9a-f]{12}', clean)
    code.write_text('1')
    assert _running.current_commit() == f'{clean}-dirty'


def test_a_line_without_its_end_is_kept(tmp_path):
    file = tmp_path / 'x.jsonl'
    file.write_text('{"name": "KD", "seed": 0}')
    add_line(file, {'name': 'TST', 'seed': 0})
    file.write_text(file.read_text() + '{"name": "to')
    add_line(file, {'name': 'TST', 'seed': 1})
    assert list(lines_by_key(file)) == [('KD', 0), ('TST', 0), ('TST', 1)]


def test_a_training_that_fails_is_named(matrix, tmp_path):
    process = start(matrix, tmp_path, '--set', 'optim_wrapper.optimizer.lr=-1')
    output = finish(process, 1)
    assert 'failed' in output
    assert 'left    teacher, seed 0' in output
    assert 'starts  TST' not in output


def build_parts(cfg):
    """Build what the arms change, without the networks."""
    for name in ('augmentation', 'objective'):
        part = cfg.model.get(name)
        if part is not None:
            MODELS.build({'type': DEFAULTS[name], **part})
    for hook in cfg.get('custom_hooks', ()):
        HOOKS.build(hook)
    policy = cfg.model.get('policy', 'searched')
    check_control(policy)
    if policy.endswith('.json'):
        read_policy(ROOT / policy.removeprefix('replay:'))


@pytest.mark.parametrize('path', MATRICES, ids=lambda path: path.stem)
def test_every_matrix_names_configs_that_are_there(path, tmp_path):
    matrix = read_matrix(path)
    found = list(cells(matrix, tmp_path))
    assert {cell.seed for cell in found} == set(matrix['seeds'])
    assert matrix['baseline'] in matrix['arms']
    keys = [cell.key for cell in found]
    for index, cell in enumerate(found):
        if cell.seed == matrix['seeds'][0]:
            assert cell.final_checkpoint.parent == cell.folder
            assert (cell.fork_checkpoint is None) == (cell.origin is None)
            build_parts(cell.cfg)
        assert {c.key for c in cell.needs.values()} <= set(keys[:index])
    assert len({cell.folder for cell in found}) == len(found)
    # No line of another time is in its way, and none is there twice.
    file = ROOT / 'benchmarks' / 'results' / f'{matrix["name"]}.jsonl'
    study = Study(file, found, 1, None)
    assert len(read_lines(file)) == len(study.lines())


def written(content, folder):
    path = folder / 'matrix.yml'
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'arm': {}}, "unknown keys: .'arm'."),
        ({'seeds': []}, 'seeds must be a list of whole numbers'),
        ({'seeds': 3}, 'seeds must be a list of whole numbers'),
        ({'seeds': ['one']}, 'seeds must be a list of whole numbers'),
        ({'arms': {}}, 'there are no arms'),
        ({'arms': {'a': {'form': 'b'}}}, 'arm "a": unknown keys: .\'form\'.'),
        ({'arms': {'a': {'options': 3}}}, 'options must be a mapping, got 3'),
        (ALIKE, 'names too much alike'),
        ({'configs': {'a': 'b.py'}}, 'config "a": must be a mapping'),
        ({'configs': {'a': {}}}, 'config "a": missing keys: .\'file\'.'),
        ({'configs': {'a': {'file': 'b.py'}}}, 'config "a": no file b.py'),
        ({'include': 'basic.yml'}, 'include must be a list'),
        ({'include': ['none.yml']}, 'none.yml: No such file'),
        ({'without': ['none']}, 'without: no arm "none"'),
        ({'baseline': 'none'}, 'baseline: no arm "none"'),
        ({'teachers': {'a': {'file': 'b.py'}}}, 'teacher "a": unknown keys'),
        ({'include': [None]}, 'include must be a list'),
        ({'without': [['a']]}, 'without must be a list'),
        ({'without': 3}, 'without must be a list'),
        ({'baseline': ['a']}, 'baseline: no arm'),
        ({'arms': {3: {}}}, 'arms: names must be texts'),
        ({'configs': {3: {'file': 'b.py'}}}, 'configs: names must be texts'),
        ({'configs': {'a': {'file': 'b\0.py'}}}, 'config "a": no file'),
        ({'configs': {'a': {'file': 'b' * 9000}}}, 'config "a": no file'),
        ({'name': None}, 'name must be a text'),
    ],
)
def test_what_is_wrong_with_a_matrix_is_named(
    matrix, tmp_path, change, message
):
    content = yaml.safe_load(matrix.read_text())
    with pytest.raises(MatrixError, match=message):
        read_matrix(written({**content, **change}, tmp_path))


@pytest.mark.parametrize(
    'text', ['[1, 2]', '', 'a: [', '\x80', 'a: 2020-99-99', '[' * 5000]
)
def test_what_is_no_matrix_is_refused(tmp_path, text):
    path = tmp_path / 'matrix.yml'
    path.write_text(text, encoding='latin-1')
    with pytest.raises(MatrixError, match='matrix.yml: '):
        read_matrix(path)


def test_what_a_matrix_lacks_is_named(matrix, tmp_path):
    content = read_matrix(matrix)
    content['arms'] = {'a': {'config': 'tst', 'from': 'b', 'options': {}}}
    with pytest.raises(MatrixError, match='"b" is not there; there are a'):
        list(cells(content, tmp_path))
    content['arms']['b'] = {'config': 'tst', 'from': 'a', 'options': {}}
    with pytest.raises(MatrixError, match='"a" needs itself'):
        list(cells(content, tmp_path))
    content = read_matrix(matrix)
    unsearched = {'config': 'tst', 'options': {}}
    content['arms']['unsearched'] = unsearched
    (tst,) = (c for c in cells(content, tmp_path) if c.arm == 'TST')
    with pytest.raises(MatrixError, match='has to keep its checkpoint at 1'):
        _ = tst.fork_checkpoint
    content['arms'] = {'a': {'config': 'none', 'options': {}}}
    with pytest.raises(MatrixError, match='no config among alone, tst'):
        list(cells(content, tmp_path))


def test_arms_may_have_a_teacher_and_a_fork_of_their_own(matrix, tmp_path):
    content = yaml.safe_load(matrix.read_text())
    content['teachers'] = {'other teacher': content['teacher']}
    content['arms']['late'] = {**ARMS['TST'], 'fork': 2}
    other = {'config': 'tst', 'teacher': 'other teacher'}
    content['arms']['other'] = other
    content['seeds'] = [3]
    content = read_matrix(written(content, tmp_path))
    made = {cell.arm: cell for cell in cells(content, tmp_path)}
    assert made['TST'].fork_checkpoint.name == 'epoch_1.pth'
    assert made['late'].fork_checkpoint.name == 'epoch_2.pth'
    assert made['other'].seed == 3
    assert made['other teacher'].seed == 0
    for arm, teacher in (('TST', 'teacher'), ('other', 'other teacher')):
        path = made[teacher].final_checkpoint
        assert f'model.teacher_ckpt={path}' in made[arm].command
