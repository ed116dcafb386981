"""Test that no tool runs what a checkpoint names, unless told to trust it."""

from __future__ import annotations

import pytest
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as mmengine_checkpoint

from mmtst.utils.errors import ConfigError

pytestmark = pytest.mark.usefixtures('checkpoints_as_before')


@pytest.fixture
def call(load_tool, shapes, tmp_path, monkeypatch):
    """Return a function that runs a tool in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')

    def run(name, *arguments):
        arguments = (*arguments, '--data-root', shapes)
        if name == 'train':
            arguments = (*arguments, '--work-dir', 'work')
        return load_tool(name).main([str(a) for a in arguments])

    return run


def option(name, value):
    return ['--cfg-options', f'{name}={value}']


def uses(plain, distill, path):
    """Name every way in which a tool comes to read a checkpoint."""
    teacher = option('model.teacher_ckpt', path)
    init = ['model.init_cfg.type=Pretrained']
    init += [f'model.init_cfg.checkpoint={path}']
    return {
        'teacher': ('train', distill, *teacher),
        'load_from': ('train', plain, *option('load_from', path)),
        'resume': ('train', plain, '--resume', path),
        'init_cfg': ('train', plain, '--cfg-options', *init),
        'test': ('test', plain, path),
        'test the student': ('test', distill, path),
        'test the teacher': ('test', distill, '--teacher', *teacher),
        'export': ('export_student', distill, path, 'out.pth'),
        'browse': ('browse_augmentation', distill, '--checkpoint', path),
    }


USES = list(uses('', '', ''))


@pytest.mark.parametrize('kind', ['call', 'getattr'])
@pytest.mark.parametrize('use', USES)
def test_hostile_files_are_refused(
    call, plain_config, distill_config, tmp_path, write_hostile, use, kind
):
    path = tmp_path / 'bad.pth'
    proof = write_hostile(path, kind)
    with pytest.raises(ConfigError, match='--trust-checkpoint') as caught:
        call(*uses(plain_config, distill_config, path)[use])
    assert not proof.exists()
    asked = 'mkdir' if kind == 'call' else "attribute 'update'"
    assert asked in str(caught.value)


@pytest.fixture
def finished(plain_config):
    """Return the content of a checkpoint that can be resumed."""
    cfg = Config.fromfile(plain_config)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
    hub = MessageHub('finished')
    hub.update_scalar('train/loss', 1.0)
    return dict(
        state_dict=model.state_dict(),
        meta=dict(epoch=1, iter=2),
        message_hub=hub.state_dict(),
    )


@pytest.mark.parametrize('trust', [[], ['--trust-checkpoint']])
def test_a_config_inside_is_not_run(
    call, plain_config, tmp_path, write_hostile, finished, trust
):
    path = tmp_path / 'bad.pth'
    proof = write_hostile(path, 'config', **finished)
    call('train', plain_config, '--resume', path, *trust)
    assert not proof.exists()


def test_trust_lasts_for_one_run(
    call, plain_config, tmp_path, write_hostile, finished
):
    path = tmp_path / 'bad.pth'
    proof = write_hostile(path, 'call', **finished)
    arguments = ('train', plain_config, '--resume', path)
    call(*arguments, '--trust-checkpoint')
    assert proof.exists()
    proof.rmdir()
    with pytest.raises(ConfigError, match='mkdir'):
        call(*arguments)
    assert not proof.exists()


def test_other_tools_that_build_our_model_are_safe(distill_config):
    """They load a checkpoint after they have built the model."""
    for prefix in ('', 'http://'):
        CheckpointLoader.register_scheme(
            prefix, mmengine_checkpoint.load_from_local, force=True
        )
    cfg = Config.fromfile(distill_config).model
    cfg.update(teacher_ckpt=None, untrained_teacher=True)
    with DefaultScope.overwrite_default_scope('mmdet'):
        MODELS.build(cfg)
    for prefix in ('', 'http://'):
        loader = CheckpointLoader._schemes[prefix]
        assert loader.__module__ == 'mmtst.utils.safe_loading'


@pytest.mark.slow
@pytest.mark.parametrize(
    ('use', 'trust'),
    [
        ('teacher', []),
        ('export', []),
        ('browse', []),
        ('test', ['--trust-checkpoint']),
    ],
)
def test_from_the_command_line(
    tool,
    plain_config,
    distill_config,
    shapes,
    tmp_path,
    write_hostile,
    use,
    trust,
):
    path = tmp_path / 'bad.pth'
    proof = write_hostile(path)
    name, *arguments = uses(plain_config, distill_config, path)[use]
    arguments += ['--data-root', shapes, *trust]
    code, text = tool(name, *arguments, cwd=tmp_path)
    # Where it is trusted, its empty state dict fits no model.
    assert code == 1
    assert 'Traceback' not in text
    assert proof.exists() == bool(trust)
    assert ('can run any code with your rights' in text) == bool(trust)
    said = 'does not fit' if trust else 'is not read'
    assert said in text and f'{name}: ' in text
