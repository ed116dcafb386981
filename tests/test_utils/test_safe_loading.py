"""Check that mmengine reads nothing that runs, from anywhere."""

from __future__ import annotations

import sys
import threading
import uuid
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import CheckpointLoader, Runner
from mmengine.runner import checkpoint as mmengine_checkpoint
from torch.utils.data import DataLoader, TensorDataset

from mmtst.models.build import load_model
from mmtst.utils import safe_loading
from mmtst.utils.checkpoint import read_checkpoint
from mmtst.utils.errors import ConfigError
from mmtst.utils.safe_loading import install_safe_loading
from mmtst.utils.safe_reading import CheckpointError, trust_checkpoints

pytestmark = pytest.mark.usefixtures('checkpoints_as_before')


class Tiny(BaseModel):
    """Fit one number; with its weights from a file, if there is one."""

    def __init__(self, checkpoint=None):
        init = dict(type='Pretrained', checkpoint=str(checkpoint))
        super().__init__(init_cfg=init if checkpoint else None)
        self.linear = torch.nn.Linear(1, 1)

    def forward(self, x, mode='tensor'):
        return {'loss': self.linear(x).square().mean()}

    def train_step(self, data, optim_wrapper):
        losses = self(data[0])
        optim_wrapper.update_params(losses['loss'])
        return losses


def make_runner(work_dir, **more):
    return Runner(
        Tiny(),
        work_dir=str(work_dir),
        train_dataloader=DataLoader(TensorDataset(torch.ones(2, 1))),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
        param_scheduler=dict(type='LinearLR', start_factor=0.1),
        default_scope='mmengine',
        experiment_name=uuid.uuid4().hex,
        log_level='ERROR',
        **more,
    )


@pytest.fixture
def installed():
    install_safe_loading()


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """Serve the test's folder; return the address."""

    class Silent(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    monkeypatch.setenv('MMTST_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    monkeypatch.setenv('MMENGINE_HOME', str(tmp_path))
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    handler = partial(Silent, directory=tmp_path)
    server = ThreadingHTTPServer(('127.0.0.1', 0), handler)
    thread = threading.Thread(
        target=server.serve_forever, args=(0.02,), daemon=True
    )
    thread.start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    server.server_close()
    thread.join()


class Store:
    """Be the object store and the model cloud that are not installed."""

    def __init__(self, path):
        self.path = path

    def get(self, _):
        return self.path.read_bytes()


def copy_to(source, target):
    with open(target, 'wb') as file:
        file.write(source.read_bytes())


@pytest.fixture
def names_of(serve, monkeypatch):
    """Return a function that makes a file known under every scheme."""

    def know(path):
        url = f'{serve}/{path.name}'
        for table, value in (
            ('get_torchvision_models', url),
            ('get_external_models', url),
            ('get_mmcls_models', url),
        ):
            monkeypatch.setattr(
                mmengine_checkpoint, table, lambda value=value: {'net': value}
            )
        monkeypatch.setattr(
            safe_loading, 'get_file_backend', lambda *_, **__: Store(path)
        )
        monkeypatch.setattr(
            mmengine_checkpoint,
            'get_file_backend',
            lambda *_, **__: Store(path),
        )
        cloud = ModuleType('pavi')
        model = SimpleNamespace(
            name=path.name, download=partial(copy_to, path)
        )
        cloud.modelcloud = SimpleNamespace(get=lambda _: model)
        monkeypatch.setitem(sys.modules, 'pavi', cloud)
        return {
            'local': str(path),
            'http': url,
            'torchvision': 'torchvision://net',
            'modelzoo': 'modelzoo://net',
            'open-mmlab': 'open-mmlab://net',
            'openmmlab': 'openmmlab://net',
            'mmcls': 'mmcls://net',
            's3': 's3://bucket/net',
            'petrel': 'cluster:petrel://bucket/net',
            'pavi': 'pavi://net',
        }

    return know


SCHEMES = [
    'local',
    'http',
    'torchvision',
    'modelzoo',
    'open-mmlab',
    'openmmlab',
    'mmcls',
    's3',
    'petrel',
    'pavi',
]


def test_every_scheme_of_mmengine_is_replaced():
    install_safe_loading()
    first = dict(CheckpointLoader._schemes)
    for loader in first.values():
        assert loader.__module__ == 'mmtst.utils.safe_loading'
    install_safe_loading()
    assert CheckpointLoader._schemes == first
    assert list(first) == sorted(first, reverse=True)


@pytest.mark.parametrize('scheme', SCHEMES)
def test_hostile_files_do_not_run(
    scheme, installed, names_of, tmp_path, write_hostile, monkeypatch
):
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    path = tmp_path / 'net.pth'
    proof = write_hostile(path)
    name = names_of(path)[scheme]
    with pytest.raises(ConfigError, match='mkdir'):
        CheckpointLoader.load_checkpoint(name, 'cpu')
    with pytest.raises(ConfigError, match='where:   model.teacher_ckpt'):
        read_checkpoint(name, where='model.teacher_ckpt')
    assert not proof.exists()
    trust_checkpoints()
    CheckpointLoader.load_checkpoint(name, 'cpu')
    assert proof.exists()


@pytest.mark.parametrize('scheme', SCHEMES)
def test_good_files_come_through(scheme, installed, names_of, tmp_path):
    path = tmp_path / 'net.pth'
    weights = {'backbone.weight': torch.arange(3.0)}
    meta = dict(epoch=1, config='import os', best=np.float32(2))
    torch.save(dict(meta=meta, state_dict=weights), path)
    name = names_of(path)[scheme]
    got = CheckpointLoader.load_checkpoint(name, map_location='cpu')
    if scheme == 'mmcls':
        assert torch.equal(got['state_dict']['weight'], torch.arange(3.0))
        return
    found = got['state_dict']['backbone.weight']
    assert torch.equal(found, torch.arange(3.0))
    assert got['meta'] == dict(epoch=1, best=2)


def test_openmmlab_names_may_be_old_or_lead_to_a_file(
    installed, serve, tmp_path, monkeypatch, write_hostile
):
    monkeypatch.setattr(
        mmengine_checkpoint,
        'get_external_models',
        lambda: {'new': 'net.pth'},
    )
    monkeypatch.setattr(
        mmengine_checkpoint,
        'get_deprecated_model_names',
        lambda: {'old': 'new'},
    )
    path = tmp_path / 'net.pth'
    torch.save(dict(weight=torch.ones(1)), path)
    got = CheckpointLoader.load_checkpoint('open-mmlab://old', 'cpu')
    assert list(got) == ['weight']
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    proof = write_hostile(path)
    with pytest.raises(ConfigError, match='mkdir'):
        CheckpointLoader.load_checkpoint('open-mmlab://new', 'cpu')
    assert not proof.exists()
    with pytest.raises(ConfigError, match='no weights of this name'):
        CheckpointLoader.load_checkpoint('open-mmlab://none', 'cpu')


def test_a_zip_around_a_legacy_file_does_not_run(
    installed, serve, tmp_path, write_hostile
):
    """torch.hub would unpack such a file before it reads it."""
    inner = tmp_path / 'inner.pth'
    proof = write_hostile(inner, legacy=True)
    with zipfile.ZipFile(tmp_path / 'outer.pth', 'w') as file:
        file.write(inner, 'inner.pth')
    with pytest.raises(ConfigError, match='cannot be read'):
        CheckpointLoader.load_checkpoint(f'{serve}/outer.pth', 'cpu')
    assert not proof.exists()
    assert not list((tmp_path / 'cache').rglob('*.pth'))


def test_what_is_not_there_is_said_so(installed, serve, tmp_path):
    with pytest.raises(FileNotFoundError, match='none.pth'):
        CheckpointLoader.load_checkpoint(str(tmp_path / 'none.pth'), 'cpu')
    with pytest.raises(ConfigError, match='404'):
        CheckpointLoader.load_checkpoint(f'{serve}/none.pth', 'cpu')
    with pytest.raises(ConfigError, match='404'):
        read_checkpoint(f'{serve}/none.pth', where='here')


@pytest.mark.parametrize('rank', [0, 1])
def test_processes_do_not_wait_for_a_file_that_is_refused(
    rank, installed, names_of, tmp_path, write_hostile, monkeypatch
):
    path = tmp_path / 'net.pth'
    write_hostile(path)
    order, read = [], safe_loading.read_safely

    def note_reading(*arguments):
        order.append('read')
        return read(*arguments)

    monkeypatch.setattr(safe_loading, 'get_dist_info', lambda: (rank, 2))
    monkeypatch.setattr(
        safe_loading, 'barrier', lambda: order.append('barrier')
    )
    monkeypatch.setattr(safe_loading, 'read_safely', note_reading)
    with pytest.raises(ConfigError, match='mkdir'):
        CheckpointLoader.load_checkpoint(names_of(path)['http'], 'cpu')
    # The first downloads; one barrier each, or one of them hangs.
    first = ['read', 'barrier']
    assert order == (first[::-1] if rank else first)


@pytest.mark.parametrize('kind', ['call', 'getattr'])
@pytest.mark.parametrize('source', ['local', 'http'])
@pytest.mark.parametrize('use', ['load_from', 'resume', 'init_cfg', 'teacher'])
def test_no_use_of_a_hostile_file_runs_it(
    use, source, kind, installed, names_of, tmp_path, write_hostile
):
    path = tmp_path / 'net.pth'
    proof = write_hostile(path, kind)
    name = names_of(path)[source]
    with pytest.raises(ConfigError, match='--trust-checkpoint'):
        if use == 'load_from':
            make_runner(tmp_path / 'work', load_from=name).train()
        elif use == 'resume':
            make_runner(tmp_path / 'work').resume(name)
        elif use == 'init_cfg':
            Tiny(name).init_weights()
        else:
            load_model(Tiny(), name, 'model.teacher_ckpt')
    assert not proof.exists()


@pytest.fixture
def trained(tmp_path):
    """Return the checkpoint of a real, if short, training."""
    make_runner(tmp_path / 'first').train()
    return tmp_path / 'first' / 'epoch_1.pth'


def write_changed(source, target, change):
    content = torch.load(source, weights_only=False)
    change(content)
    torch.save(content, target)


@pytest.mark.parametrize('place', ['meta', 'runtime_info'])
def test_a_config_inside_is_not_run_on_resume(
    installed, trained, tmp_path, place, monkeypatch
):
    proof = tmp_path / 'executed'
    text = f'open({str(proof)!r}, "w").close()'

    def put_in(content):
        if place == 'meta':
            content['meta']['config'] = text
        else:
            content['message_hub']['runtime_info']['cfg'] = text

    path = tmp_path / 'bad.pth'
    write_changed(trained, path, put_in)
    runner = make_runner(tmp_path / 'second')
    runner.resume(str(path))
    assert (runner.epoch, runner.iter) == (1, 2)
    assert not proof.exists()
    assert runner.message_hub.runtime_info.get('cfg') != text
    if place == 'meta':
        # mmengine alone would have run it.
        monkeypatch.setattr(
            CheckpointLoader,
            'load_checkpoint',
            lambda *_, **__: torch.load(path, weights_only=False),
        )
        make_runner(tmp_path / 'third').resume(str(path))
        assert proof.exists()


@pytest.mark.parametrize('core', ['core', '_core'])
def test_mmengines_own_files_resume(installed, trained, tmp_path, core):
    path = tmp_path / 'renamed.pth'
    new = f'numpy.{core}.'.encode()
    with (
        zipfile.ZipFile(trained) as source,
        zipfile.ZipFile(path, 'w') as target,
    ):
        for item in source.infolist():
            data = source.read(item)
            if item.filename.endswith('data.pkl'):
                assert b'numpy._core.multiarray' in data
                data = data.replace(b'numpy._core.', new)
            target.writestr(item.filename, data)
    runner = make_runner(tmp_path / 'second')
    runner.resume(str(path))
    content = torch.load(trained, weights_only=False)
    for name, value in runner.model.state_dict().items():
        assert torch.equal(value, content['state_dict'][name])
    wanted = content['message_hub']['log_scalars']['train/loss']
    history = runner.message_hub.get_scalar('train/loss')
    assert type(history.data[0]) is np.ndarray
    assert np.array_equal(history.data, wanted.data)
    assert history.statistics('mean') == wanted.mean()
    got = runner.optim_wrapper.state_dict()
    momentum = content['optimizer']['state'][0]['momentum_buffer']
    assert torch.equal(got['state'][0]['momentum_buffer'], momentum)
    last = content['param_schedulers'][0]['last_step']
    assert runner.param_schedulers[0].last_step == last


@pytest.mark.parametrize(
    'content', [{}, dict(state_dict={}), dict(state_dict=dict(a=1), meta={})]
)
def test_what_holds_no_weights_is_refused(tmp_path, content):
    """Of it mmengine would load nothing, and go on."""
    install_safe_loading()
    path = tmp_path / 'empty.pth'
    torch.save(content, path)
    with pytest.raises(CheckpointError, match='holds no weights'):
        CheckpointLoader.load_checkpoint(str(path), 'cpu', logger='silent')
