"""Check that reading a checkpoint runs none of what it names."""

from __future__ import annotations

import codecs
import logging
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub

from mmtst.utils import safe_reading
from mmtst.utils.safe_reading import (
    CheckpointError,
    read_safely,
    trust_checkpoints,
)

pytestmark = pytest.mark.usefixtures('checkpoints_as_before')


def read(path):
    return read_safely(str(path), path)


def rename(path, old, new):
    """Write another module's name into the pickle of a checkpoint."""
    with zipfile.ZipFile(path) as source:
        files = {i.filename: source.read(i) for i in source.infolist()}
    (pickled,) = [name for name in files if name.endswith('data.pkl')]
    assert old in files[pickled]
    files[pickled] = files[pickled].replace(old, new)
    assert old not in files[pickled] or old in new
    with zipfile.ZipFile(path, 'w') as target:
        for name, data in files.items():
            target.writestr(name, data)


def state_dict():
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4)
    ).state_dict()


def optimizer():
    module = torch.nn.Linear(2, 2)
    found = torch.optim.SGD(module.parameters(), 0.1, momentum=0.9)
    module(torch.ones(1, 2)).sum().backward()
    found.step()
    return found.state_dict()


def of_mmdet_2():
    meta = dict(
        env_info='Python: 3.7',
        config="model = dict(type='RetinaNet')",
        seed=None,
        exp_name='retinanet.py',
        epoch=12,
        iter=87960,
        mmdet_version='2.25.0',
        CLASSES=('person', 'bicycle'),
        PALETTE=[(220, 20, 60), (119, 11, 32)],
        hook_msgs=dict(last_ckpt='epoch_12.pth', best_score=np.float64(0.4)),
    )
    return dict(meta=meta, state_dict=state_dict(), optimizer=optimizer())


def of_mmseg_1():
    hub = MessageHub('of_mmseg')
    hub.update_scalar('train/loss', 0.5)
    hub.update_info('best_score', np.float32(71.5))
    meta = dict(
        epoch=0,
        iter=80000,
        cfg='model = dict()',
        dataset_meta=dict(
            classes=('road', 'sidewalk'),
            palette=[[128, 64, 128], [244, 35, 232]],
            label_map=None,
            reduce_zero_label=False,
        ),
        experiment_name='pspnet',
        time='20260101_000000',
        mmengine_version='0.10.7',
        seed=np.int64(5),
    )
    schedulers = [dict(power=0.9, last_step=3, _last_value=[np.float64(0.1)])]
    return dict(
        meta=meta,
        state_dict=state_dict(),
        message_hub=hub.state_dict(),
        optimizer=optimizer(),
        param_schedulers=schedulers,
    )


@pytest.mark.parametrize('core', ['core', '_core'])
@pytest.mark.parametrize('legacy', [False, True], ids=['zip', 'legacy'])
@pytest.mark.parametrize('make', [of_mmdet_2, of_mmseg_1])
def test_real_formats_load(tmp_path, make, legacy, core):
    path = tmp_path / 'real.pth'
    wanted = make()
    torch.save(wanted, path, _use_new_zipfile_serialization=not legacy)
    if core == 'core' and legacy:
        old = path.read_bytes()
        assert b'numpy._core' in old
        path.write_bytes(old.replace(b'numpy._core', b'numpy.core'))
    elif core == 'core':
        rename(path, b'numpy._core', b'numpy.core')
    got = read(path)
    assert set(got) == set(wanted)
    assert list(got['state_dict']) == list(wanted['state_dict'])
    assert got['state_dict']._metadata == wanted['state_dict']._metadata
    for key, value in wanted['state_dict'].items():
        assert torch.equal(got['state_dict'][key], value)
    dropped = {'config', 'cfg'}
    meta = {k: v for k, v in wanted['meta'].items() if k not in dropped}
    assert got['meta'] == meta
    groups = wanted['optimizer']['param_groups']
    assert got['optimizer']['param_groups'] == groups
    if make is of_mmseg_1:
        hub = got['message_hub']
        assert hub['log_scalars']['train/loss'].current() == 0.5
        assert hub['runtime_info']['best_score'] == np.float32(71.5)
        last = got['param_schedulers'][0]['_last_value']
        assert last == [0.1] and type(last[0]) is np.float64


@pytest.mark.parametrize(
    ('kind', 'asked'),
    [('call', 'mkdir'), ('getattr', "attribute 'update' of .*HistoryBuffer")],
)
@pytest.mark.parametrize('legacy', [False, True], ids=['zip', 'legacy'])
def test_hostile_files_are_refused(
    tmp_path, write_hostile, kind, asked, legacy, monkeypatch
):
    # The variable moves torch's default; it must not move this.
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    path = tmp_path / 'bad.pth'
    proof = write_hostile(path, kind, legacy)
    with pytest.raises(CheckpointError, match=asked) as caught:
        read(path)
    assert not proof.exists()
    assert '--trust-checkpoint' in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_trusted_file_runs(tmp_path, write_hostile):
    """And so the files of these tests are what they are taken for."""
    path = tmp_path / 'bad.pth'
    proof = write_hostile(path, 'call')
    trust_checkpoints()
    read(path)
    assert proof.exists()
    proof.rmdir()
    trust_checkpoints(False)
    with pytest.raises(CheckpointError):
        read(path)
    assert not proof.exists()


def test_trust_is_warned_of(monkeypatch):
    said = []
    monkeypatch.setattr(
        safe_reading, 'print_log', lambda text, **how: said.append((text, how))
    )
    trust_checkpoints(False)
    assert not said
    trust_checkpoints()
    ((text, how),) = said
    assert 'can run any code' in text
    assert how['level'] == logging.WARNING


def test_a_free_getattr_would_be_enough(tmp_path, write_hostile):
    """The file that asks for it is a working attack."""
    path = tmp_path / 'bad.pth'
    proof = write_hostile(path, 'getattr')
    free = [HistoryBuffer, (getattr, 'builtins.getattr')]
    with torch.serialization.safe_globals(free):
        with pytest.raises(Exception, match='as_subclass'):
            torch.load(path, weights_only=True)
        assert proof.exists()
        proof.unlink()
        # What another package allows process-wide does not reach us.
        with pytest.raises(CheckpointError, match="attribute 'update'"):
            read(path)
        assert not proof.exists()


def test_the_list_of_others_is_left_as_it_was(tmp_path):
    path = tmp_path / 'x.pth'
    torch.save(dict(x=torch.ones(1)), path)
    before = torch.serialization.get_safe_globals()
    with torch.serialization.safe_globals([logging.Logger]):
        read(path)
        assert logging.Logger in torch.serialization.get_safe_globals()
    assert set(torch.serialization.get_safe_globals()) == set(before)
    torch.save(dict(x=np.ones(1)), path)
    with pytest.raises(Exception, match='numpy'):
        torch.load(path, weights_only=True)


@pytest.mark.parametrize(
    ('owner', 'name'),
    [
        (HistoryBuffer, '__init__'),
        (HistoryBuffer, 'register_statistics'),
        (HistoryBuffer, '_statistics_methods'),
        (HistoryBuffer([1], [1]), 'mean'),
        (OrderedDict, 'mean'),
        (HistoryBuffer, np.dtype('f8')),
    ],
)
def test_getattr_gives_statistics_alone(owner, name):
    with pytest.raises(Exception, match='attribute'):
        safe_reading._statistics_getattr(owner, name)
    given = safe_reading._statistics_getattr(HistoryBuffer, 'mean')
    assert given is HistoryBuffer.mean


def test_a_file_does_not_change_how_statistics_work(tmp_path):
    path = tmp_path / 'x.pth'
    buffer = HistoryBuffer([1.0], [1])
    methods = HistoryBuffer._statistics_methods
    known = dict(methods)
    try:
        methods['mean'] = codecs.encode
        methods['more'] = OrderedDict
        torch.save(dict(x=buffer), path)
    finally:
        methods.clear()
        methods.update(known)
    assert read(path)['x'].statistics('mean') == 1.0
    assert HistoryBuffer._statistics_methods == known


def test_statistics_work_where_a_file_brings_the_first_buffer(
    tmp_path, monkeypatch
):
    """As in a process that resumes: the class is told by its first one."""
    path = tmp_path / 'x.pth'
    torch.save(dict(x=HistoryBuffer([1.0], [1])), path)
    monkeypatch.setattr(HistoryBuffer, '_statistics_methods', {})
    assert read(path)['x'].statistics('mean') == 1.0


@pytest.mark.parametrize(
    'encoding', ['rot13', 'bz2', 'mmtst_none', '..os', 'unicode_escape']
)
def test_encoding_runs_nothing(tmp_path, encoding):
    """torch itself allows ``_codecs.encode``; a codec is but a codec."""
    path = tmp_path / 'x.pth'
    torch.save(dict(x=EncodeCall(encoding)), path)
    try:
        got = read(path)['x']
    except CheckpointError:
        return
    assert isinstance(got, (str, bytes))


class EncodeCall:
    def __init__(self, encoding):
        self.encoding = encoding

    def __reduce__(self):
        return codecs.encode, ('os', self.encoding)


@pytest.mark.parametrize(
    'meta',
    [None, 7, 'config', ['config'], (), torch.ones(2), HistoryBuffer()],
    ids=lambda value: type(value).__name__,
)
def test_any_meta_is_taken(tmp_path, meta):
    path = tmp_path / 'x.pth'
    torch.save(dict(meta=meta, message_hub=meta), path)
    assert type(read(path)['meta']) is type(meta)


@pytest.mark.parametrize('key', ['config', np.str_('config')], ids=repr)
@pytest.mark.parametrize('table', [dict, OrderedDict])
def test_texts_of_configs_are_dropped(tmp_path, key, table):
    path = tmp_path / 'x.pth'
    info = table(cfg='text', iter=3)
    torch.save(
        table(
            meta=table({key: 'text', 'cfg': 'text', 'epoch': 1}),
            message_hub=dict(runtime_info=info),
        ),
        path,
    )
    for trusted in (False, True):
        trust_checkpoints(trusted)
        got = read(path)
        assert got['meta'] == dict(epoch=1)
        assert got['message_hub']['runtime_info'] == dict(iter=3)


def test_a_dictionary_is_not_asked_for(tmp_path):
    path = tmp_path / 'x.pth'
    torch.save([1, 2], path)
    assert read(path) == [1, 2]


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'not a checkpoint', 'torch.save does not write'),
        (b'', 'cannot be read'),
        (b'PK\x03\x04 cut off', 'cannot be read'),
        (b'\x80\x04\x95\x00', 'torch.save does not write'),
        (b'\x80\x02]q\x00.', 'torch.save does not write'),
    ],
)
def test_broken_files_are_named(tmp_path, content, message):
    path = tmp_path / 'x.pth'
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        read(path)
    assert 'where:   option' in str(caught.value.at('option'))
    assert str(path) in str(caught.value.at('option'))
    assert 'trust' not in str(caught.value)


def test_files_that_are_not_there_are_left_to_the_caller(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / 'none.pth')
