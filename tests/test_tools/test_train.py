"""Test training from the command line, and what it says of wrong input."""

from __future__ import annotations

import json
import os
import shutil

import pytest
import torch
from mmengine.runner import Runner

from mmtst.engine.run_lock import lock_early
from mmtst.utils.errors import ConfigError


@pytest.fixture
def prepare(load_tool, shapes):
    """Return what makes a config ready as the tool does, for the shapes."""
    train = load_tool('train')

    def run(config, *arguments):
        words = [config, '--data-root', shapes, *arguments]
        return train.prepare(train.parse_args([str(word) for word in words]))

    return run


@pytest.fixture
def data(shapes, tmp_path):
    """Return a copy of the shapes, to be spoiled."""
    return shutil.copytree(shapes, tmp_path / 'data')


@pytest.mark.slow
def test_a_distillation_runs_and_leaves_its_files(distill_run):
    content = torch.load(distill_run / 'epoch_1.pth', weights_only=False)
    names = set(content['state_dict'])
    assert 'augmentation.th_p' in names
    assert any(name.startswith('architecture.') for name in names)
    assert not any(name.startswith('teacher.') for name in names)
    log = next(distill_run.rglob('policy.jsonl'))
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(lines) >= 2
    assert (distill_run / 'distill.py').exists()


@pytest.mark.slow
def test_resume_goes_on(tool, distill_config, distill_run, shapes, tmp_path):
    code, text = tool(
        'train',
        distill_config,
        '--data-root',
        shapes,
        '--work-dir',
        tmp_path,
        '--resume',
        distill_run / 'epoch_1.pth',
        '--cfg-options',
        'train_cfg.max_epochs=2',
        cwd=tmp_path,
    )
    assert code == 0, text
    assert 'resumed epoch: 1, iter: 2' in text
    assert (tmp_path / 'epoch_2.pth').exists()


def test_errors_end_without_a_traceback(tool, plain_config, tmp_path):
    code, text = tool('train', plain_config, cwd=tmp_path)
    assert code == 1
    assert 'Traceback' not in text
    assert 'train: the data root is not there' in text
    assert "'data/shapes'" in text
    assert '--data-root DIR' in text
    assert not (tmp_path / 'work_dirs').exists()


def test_flags_reach_the_config(prepare, plain_config, shapes, tmp_path):
    cfg = prepare(
        plain_config,
        '--auto-scale-lr',
        '--work-dir',
        tmp_path,
        '--cfg-options',
        'train_cfg.max_epochs=7',
    )
    assert cfg.auto_scale_lr.enable
    assert not cfg.get('resume')
    assert cfg.load_from is None
    assert cfg.work_dir == str(tmp_path)
    assert cfg.train_cfg.max_epochs == 7
    assert cfg.train_dataloader.dataset.data_root == str(shapes)
    assert cfg.val_evaluator.ann_file.startswith(str(shapes))
    assert cfg.launcher == 'none'


def test_work_dir_is_named_after_the_config(prepare, plain_config):
    cfg = prepare(plain_config)
    assert cfg.work_dir == 'work_dirs/plain'
    assert not cfg.get('resume')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--resume', 'gone.pth'], r'--resume\n  got:     .gone.pth'),
        (['--cfg-options', 'load_from=gone.pth'], 'load_from'),
        (['--cfg-options', 'auto_scale_lr=None', '--auto-scale-lr'], 'base_b'),
    ],
)
def test_wrong_input_is_named(prepare, plain_config, arguments, message):
    with pytest.raises(ValueError, match=message):
        prepare(plain_config, *arguments)


@pytest.mark.parametrize(
    ('device', 'kind', 'message'),
    [
        ('cpu', 'OptimWrapper', 'accelerator'),
        ('cuda', 'ApexOptimWrapper', 'optim_wrapper.type'),
        ('cuda', 'OptimWrapper', None),
    ],
)
def test_amp(
    load_tool, prepare, plain_config, monkeypatch, device, kind, message
):
    train = load_tool('train')
    monkeypatch.setattr(train, 'get_device', lambda: device)
    arguments = ('--amp', '--cfg-options', f'optim_wrapper.type={kind}')
    if message is None:
        cfg = prepare(plain_config, *arguments)
        assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
        assert cfg.optim_wrapper.loss_scale == 'dynamic'
        return
    with pytest.raises(ValueError, match=message):
        prepare(plain_config, *arguments)


def test_missing_teacher_is_named(prepare, distill_config, teacher_checkpoint):
    for option in ('model.teacher_ckpt', 'model.teacher.checkpoint'):
        with pytest.raises(ValueError, match='checkpoint is not') as error:
            prepare(
                distill_config,
                '--cfg-options',
                f'{option}=/no/teacher.pth',
            )
        assert option in str(error.value)
        assert '/no/teacher.pth' in str(error.value)


def test_missing_config_is_named(prepare):
    with pytest.raises(ValueError, match='config file is not there'):
        prepare('no_such_config.py')


def test_broken_config_is_named(prepare, tmp_path):
    path = tmp_path / 'broken.py'
    path.write_text('model = dict(\n')
    with pytest.raises(ValueError, match='cannot be read') as error:
        prepare(path)
    assert 'broken.py' in str(error.value)


@pytest.mark.parametrize(
    ('kept', 'more', 'message'),
    [
        (0, b'', '1 of 8 images are empty files'),
        (100, b'', '1 of 8 images are cut short or damaged'),
        (-20, b'', '1 of 8 images are cut short or damaged'),
        (0, b'<html>', '1 of 8 images are web pages'),
    ],
)
def test_broken_images_are_refused_before_the_start(
    prepare, plain_config, data, kept, more, message
):
    broken = sorted((data / 'train').iterdir())[0]
    broken.write_bytes(broken.read_bytes()[:kept] + more)
    with pytest.raises(ConfigError, match=message) as error:
        prepare(plain_config, '--data-root', data)
    assert str(broken) in str(error.value)


def test_all_images_are_looked_into_on_request(
    load_tool, prepare, plain_config, monkeypatch
):
    asked = []
    monkeypatch.setattr(
        load_tool('train'),
        'check_files',
        lambda cfg, subsets, every: asked.append((subsets, every)) or [],
    )
    prepare(plain_config)
    prepare(plain_config, '--check-data')
    both = ('train', 'val')
    assert asked == [(both, False), (both, True)]


def test_what_is_dropped_stands_in_the_log(
    load_tool, plain_config, data, tmp_path, monkeypatch
):
    path = data / 'annotations' / 'instances_train.json'
    content = json.loads(path.read_text())
    content['annotations'][0]['area'] = 0
    path.write_text(json.dumps(content))
    monkeypatch.setattr(Runner, 'train', lambda runner: None)
    words = [plain_config, '--data-root', data, '--work-dir', tmp_path / 'w']
    load_tool('train').main([str(word) for word in words])
    (log,) = (tmp_path / 'w').rglob('*.log')
    assert 'objects have an area of 0 or less, and are dropped' in (
        log.read_text()
    )


def test_data_that_cannot_be_built_are_named(load_tool, shapes):
    """Where all is dropped mmengine has numpy join no arrays."""
    from mmdet.datasets import CocoDataset
    from mmengine.config import Config

    train = load_tool('train')
    options = dict(
        data_root=str(shapes),
        ann_file='annotations/instances_train.json',
        data_prefix=dict(img='train/'),
        pipeline=[],
        filter_cfg=dict(filter_empty_gt=True),
    )

    class Runner:
        cfg = Config(
            dict(train_dataloader=dict(dataset=dict(type='CocoDataset')))
        )

        @property
        def train_loop(self):
            return CocoDataset(**options)

    with pytest.raises(ConfigError, match='need at least one array') as error:
        train.build_training_data(Runner())
    assert 'CocoDataset' in str(error.value)
    assert 'metainfo.classes' in str(error.value)


@pytest.mark.parametrize(
    ('launcher', 'words'),
    [
        ('pytorch', 'tools/dist_train.sh CONFIG PROCESSES'),
        ('slurm', 'needs GPUs'),
    ],
)
def test_launchers_that_cannot_start_say_so(
    prepare, plain_config, tmp_path, monkeypatch, launcher, words
):
    monkeypatch.delenv('RANK', raising=False)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(ConfigError) as error:
        prepare(plain_config, '--work-dir', tmp_path, '--launcher', launcher)
    assert words in str(error.value)
    assert '--launcher' in str(error.value)


def test_a_second_training_is_refused_before_anything_else(
    prepare, plain_config, tmp_path
):
    ready, wait = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            lock_early(tmp_path)
        finally:
            os.write(ready[1], b'.')
            os.read(wait[0], 1)
            os._exit(0)
    os.read(ready[0], 1)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ConfigError, match=f'process {pid} on') as caught:
        prepare(plain_config, '--work-dir', tmp_path, '--resume', 'gone.pth')
    assert '--work-dir' in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before
    os.write(wait[1], b'.')
    os.waitpid(pid, 0)
    prepare(plain_config, '--work-dir', tmp_path)


def test_resume_goes_on_from_the_newest_whole_checkpoint(
    prepare, plain_config, tmp_path, capsys
):
    def resumed():
        cfg = prepare(plain_config, '--work-dir', tmp_path, '--resume')
        return cfg.resume, cfg.load_from, capsys.readouterr().out

    resume, load_from, said = resumed()
    assert (resume, load_from) == (False, None)
    assert 'the training starts at its beginning' in said
    whole, cut = tmp_path / 'epoch_1.pth', tmp_path / 'epoch_2.pth'
    weights = dict(x=torch.zeros(1))
    content = dict(meta=dict(epoch=1, iter=2), state_dict=weights)
    torch.save(content, whole)
    cut.write_bytes(whole.read_bytes()[:100])
    resume, load_from, said = resumed()
    assert (resume, load_from) == (True, str(whole))
    assert f'left out {cut}' in said
    assert f'goes on from {whole}' in said
    whole.write_bytes(b'')
    with pytest.raises(ConfigError, match='none can be read') as error:
        resumed()
    assert str(whole) in str(error.value)
    assert 'move them away' in str(error.value)


def test_a_first_start_with_resume_keeps_load_from(
    prepare, plain_config, tmp_path, capsys
):
    weights = tmp_path / 'weights.pth'
    torch.save(dict(state_dict={}), weights)
    cfg = prepare(
        plain_config,
        '--work-dir',
        tmp_path / 'work',
        '--resume',
        '--cfg-options',
        f'load_from={weights}',
    )
    assert (cfg.resume, cfg.load_from) == (False, str(weights))
    assert f'with the weights of {weights}' in capsys.readouterr().out


def test_resume_looks_where_checkpoints_are_saved(
    prepare, plain_config, tmp_path
):
    (tmp_path / 'out' / 'work').mkdir(parents=True)
    path = tmp_path / 'out' / 'work' / 'run.2.pth'
    weights = dict(x=torch.zeros(1))
    torch.save(dict(meta=dict(epoch=2, iter=4), state_dict=weights), path)
    cfg = prepare(
        plain_config,
        '--work-dir',
        tmp_path / 'work',
        '--resume',
        '--cfg-options',
        f'default_hooks.checkpoint.out_dir={tmp_path / "out"}',
        'default_hooks.checkpoint.filename_tmpl=run.{}.pth',
    )
    assert cfg.load_from == str(path)
