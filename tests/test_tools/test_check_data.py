"""Test the report on data, and the cleaned copies of annotations."""

from __future__ import annotations

import json
import shutil

import pytest

from mmtst.utils.errors import ConfigError


@pytest.fixture
def data(shapes, tmp_path):
    """Return a copy of the shapes, to be spoiled."""
    return shutil.copytree(shapes, tmp_path / 'data')


@pytest.fixture
def check(load_tool, plain_config, data, capsys):
    """Return what looks into the data; it gives exit status and output."""
    tool = load_tool('check_data')

    def run(*arguments):
        words = [plain_config, '--data-root', data, *arguments]
        code = tool.main([str(word) for word in words])
        return code, capsys.readouterr().out

    return run


def spoil(data, edit, subset='train'):
    path = data / 'annotations' / f'instances_{subset}.json'
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
    return path


def cut_short(data):
    path = sorted((data / 'train').iterdir())[2]
    path.write_bytes(path.read_bytes()[:-30])
    return path


def test_good_data_pass(check):
    code, text = check('--all')
    assert code == 0, text
    assert 'train_dataloader.dataset: 8 images with objects' in text
    assert 'nothing found' in text


def test_every_fault_is_in_the_table(check, data):
    def edit(content):
        content['annotations'][0]['area'] = 0
        del content['annotations'][1]['bbox']

    path = spoil(data, edit)
    image = cut_short(data)
    code, text = check()
    assert code == 1
    for part in (
        str(path),
        'refused        1  annotations[1] of the annotation file has no bbox',
        'noted          1  1 of ',
        'have an area of 0 or less, and are dropped',
        'refused        1  1 of 8 images are cut short or damaged',
        str(image),
        '3 kinds of faults, 2 of which a training would be refused for',
        'val_dataloader.dataset: 4 images with objects',
    ):
        assert part in text


def test_what_is_noted_alone_is_no_failure(check, data):
    spoil(data, lambda c: c['annotations'][0].update(area=0))
    code, text = check()
    assert code == 0
    assert '1 kinds of faults, 0 of which' in text


def test_all_subsets_are_looked_at_though_one_is_gone(check, data):
    (data / 'annotations' / 'instances_val.json').unlink()
    cut_short(data)
    code, text = check()
    assert code == 1
    assert 'is not there' in text
    assert 'cut short' in text
    code, text = check('--subsets', 'train')
    assert 'is not there' not in text


def test_cleaned_copies_pass(check, data, tmp_path):
    def edit(content):
        content['annotations'][0]['area'] = 0
        content['annotations'][1]['bbox'] = None

    path = spoil(data, edit)
    before = path.read_bytes()
    cut_short(data)
    code, text = check('--fix', tmp_path / 'clean')
    assert code == 0, text
    assert '1  areas set to that of the box' in text
    assert '1  malformed annotations' in text
    assert '1  images: cut' in text
    assert 'train_dataloader.dataset: 7 images with objects' in text
    assert path.read_bytes() == before
    written = sorted(p.name for p in (tmp_path / 'clean').iterdir())
    assert written == ['instances_train.json', 'instances_val.json']


@pytest.mark.parametrize('folder', ['annotations', 'link'])
def test_originals_are_never_replaced(check, data, folder):
    (data / 'link').symlink_to(data / 'annotations')
    path = spoil(data, lambda c: c['annotations'][0].update(area=0))
    before = path.read_bytes()
    with pytest.raises(ConfigError, match='name of another file'):
        check('--fix', data / folder)
    assert path.read_bytes() == before


def test_a_folder_that_is_a_file_is_one_line(check, tmp_path, capsys):
    (tmp_path / 'file').touch()
    with pytest.raises(SystemExit):
        check('--fix', tmp_path / 'file')
    assert 'argument --fix' in capsys.readouterr().err


def test_the_status_is_that_of_the_check(tool, plain_config, data, tmp_path):
    cut_short(data)
    code, text = tool(
        'check_data', plain_config, '--data-root', data, cwd=tmp_path
    )
    assert code == 1
    assert 'cut short' in text
    assert 'Traceback' not in text
