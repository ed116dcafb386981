"""Test evaluation: of students, of teachers, of exported checkpoints."""

from __future__ import annotations

import pickle

import pytest
import torch
from mmengine.config import Config

from mmtst.utils.errors import ConfigError


@pytest.fixture
def evaluate(load_tool, shapes, tmp_path, monkeypatch):
    """Return a function that evaluates in this process."""
    monkeypatch.chdir(tmp_path)
    test = load_tool('test')

    def run(*arguments):
        return test.main([str(a) for a in (*arguments, '--data-root', shapes)])

    return run


def capture_weights(load_tool, monkeypatch):
    """Record the model that the tool has loaded."""
    test = load_tool('test')
    seen = []
    original = test.load_exactly

    def load(model, weights, **names):
        original(model, weights, **names)
        seen.append(model)

    monkeypatch.setattr(test, 'load_exactly', load)
    return seen


@pytest.mark.slow
@pytest.mark.parametrize('tta', [[], ['--tta']])
def test_student_of_a_distillation(
    evaluate, distill_config, distill_run, load_tool, monkeypatch, tta
):
    seen = capture_weights(load_tool, monkeypatch)
    checkpoint = distill_run / 'epoch_1.pth'
    evaluate(distill_config, checkpoint, *tta)
    weights = torch.load(checkpoint, weights_only=False)['state_dict']
    got = seen[0].state_dict()
    assert got
    for name, value in got.items():
        assert torch.equal(value, weights[f'architecture.{name}'])


@pytest.mark.slow
def test_teacher_and_predictions(
    evaluate,
    distill_config,
    teacher_checkpoint,
    load_tool,
    monkeypatch,
    tmp_path,
):
    seen = capture_weights(load_tool, monkeypatch)
    low = ['--cfg-options']
    low += ['model.teacher.cfg_options.test_cfg.score_thr=0.0']
    evaluate(
        distill_config,
        '--teacher',
        '--out',
        tmp_path / 'out.pkl',
        '--show-dir',
        'drawn',
        *low,
    )
    weights = torch.load(teacher_checkpoint)['state_dict']
    for name, value in seen[0].state_dict().items():
        assert torch.equal(value, weights[name])
    with (tmp_path / 'out.pkl').open('rb') as file:
        predictions = pickle.load(file)
    assert len(predictions) == 4
    assert len(predictions[0]['pred_instances']['bboxes'])
    assert len(list(tmp_path.rglob('drawn/*.jpg'))) == 4


def test_checkpoint_of_another_model_is_refused(
    evaluate, plain_config, teacher_checkpoint
):
    with pytest.raises(ConfigError, match='does not fit RetinaNet'):
        evaluate(plain_config, teacher_checkpoint)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([], 'no checkpoint to test'),
        (['gone.pth'], "got:     'gone.pth'"),
        (['--teacher'], 'this config has no teacher'),
    ],
)
def test_wrong_input_is_named(evaluate, plain_config, arguments, message):
    with pytest.raises(ConfigError, match=message):
        evaluate(plain_config, *arguments)


def test_predictions_need_a_pickle(evaluate, teacher_config, tmp_path):
    (tmp_path / 'some.pth').touch()
    with pytest.raises(ConfigError, match='.pkl or .pickle'):
        evaluate(teacher_config, 'some.pth', '--out', 'out.json')


def test_checkpoint_may_stand_after_flags(load_tool):
    parsed = load_tool('test').parse_args(['config.py', '--tta', 'model.pth'])
    assert parsed.checkpoint == 'model.pth'


def test_tta_of_the_config_is_used(load_tool, plain_config):
    test = load_tool('test')
    cfg = Config.fromfile(plain_config)
    cfg.tta_model = dict(type='DetTTAModel', tta_cfg=dict(max_per_img=7))
    cfg.tta_pipeline = [dict(type='LoadImageFromFile')]
    model = cfg.model
    test.use_tta(cfg)
    assert cfg.model.tta_cfg.max_per_img == 7
    assert cfg.model.module == model
    assert cfg.test_dataloader.dataset.pipeline == cfg.tta_pipeline


def test_tta_without_a_default_says_so(load_tool):
    cfg = Config(dict(model=dict(type='X'), default_scope='mmpose'))
    with pytest.raises(ConfigError, match='mmdet, mmseg, mmpretrain'):
        load_tool('test').use_tta(cfg)


@pytest.mark.parametrize(
    ('scope', 'place'),
    [
        ('mmdet', 'default_hooks.visualization.test_out_dir'),
        ('mmpretrain', 'default_hooks.visualization.out_dir'),
        ('mmseg', 'visualizer.save_dir'),
    ],
)
def test_show_dir_of_each_package(load_tool, scope, place):
    test = load_tool('test')
    cfg = Config(
        dict(
            default_scope=scope,
            default_hooks=dict(visualization=dict(type='V')),
            visualizer=dict(type='W'),
        )
    )
    arguments = ['c.py', 'c.pth', '--show-dir', 'here']
    test._use_visualization(cfg, test.parse_args(arguments))
    found = cfg
    for key in place.split('.'):
        found = found[key]
    assert found == 'here'
    hook = cfg.default_hooks.visualization
    assert hook['enable' if scope == 'mmpretrain' else 'draw'] is True


def test_drawing_without_a_hook_says_so(load_tool):
    test = load_tool('test')
    with pytest.raises(ConfigError, match='default_hooks.visualization'):
        test._use_visualization(
            Config({}), test.parse_args(['c.py', 'c.pth', '--show'])
        )
