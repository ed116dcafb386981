"""Check that checkpoints are read safely and must fit exactly."""

import os

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub

from mmtst.utils.checkpoint import load_exactly, read_checkpoint
from mmtst.utils.errors import ConfigError


class Hostile:
    """Make a pickle that would create a file when read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_reads_what_mmengine_writes(tmp_path):
    hub = MessageHub('test_checkpoint')
    hub.update_scalar('train/loss', 1.5)
    hub.update_info('value', np.float32(3.0))
    path = tmp_path / 'epoch_1.pth'
    torch.save(
        dict(
            meta=dict(epoch=1),
            message_hub=hub.state_dict(),
            state_dict=dict(weight=torch.ones(2)),
        ),
        path,
    )
    content = read_checkpoint(path, where='here')
    history = content['message_hub']['log_scalars']['train/loss']
    assert history.current() == 1.5
    assert torch.equal(content['state_dict']['weight'], torch.ones(2))


def test_a_bare_state_dict_is_wrapped(tmp_path):
    path = tmp_path / 'weights.pth'
    torch.save(dict(weight=torch.ones(2)), path)
    assert list(read_checkpoint(path, where='here')) == ['state_dict']


def test_hostile_files_are_not_executed(tmp_path):
    path, proof = tmp_path / 'bad.pth', tmp_path / 'executed'
    torch.save(dict(state_dict={}, extra=Hostile(proof)), path)
    with pytest.raises(ConfigError, match='is not read.*mkdir'):
        read_checkpoint(path, where='here')
    assert not proof.exists()


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(ConfigError, match='does not exist'):
        read_checkpoint(tmp_path / 'none.pth', where='model.teacher_ckpt')
    broken = tmp_path / 'broken.pth'
    broken.write_bytes(b'not a checkpoint')
    with pytest.raises(ConfigError, match='model.teacher_ckpt'):
        read_checkpoint(broken, where='model.teacher_ckpt')
    tensor = tmp_path / 'tensor.pth'
    torch.save(torch.ones(1), tensor)
    with pytest.raises(ConfigError, match='no dictionary'):
        read_checkpoint(tensor, where='here')


def test_loading_is_exact():
    module = torch.nn.Linear(2, 3)
    good = {k: torch.ones_like(v) for k, v in module.state_dict().items()}
    before = module.weight.clone()
    for change, message in (
        (dict(weight=torch.ones(3, 4)), r'weight: \(3, 4\) in the file'),
        (dict(extra=torch.ones(1)), 'unexpected: extra'),
    ):
        with pytest.raises(ConfigError, match=message):
            load_exactly(module, good | change, where='w', source='f.pth')
        assert torch.equal(module.weight, before)
    with pytest.raises(ConfigError, match='missing: bias'):
        load_exactly(
            module, dict(weight=good['weight']), where='w', source='f.pth'
        )
    prefixed = {f'module.{k}': v for k, v in good.items()}
    load_exactly(module, prefixed, where='w', source='f.pth')
    assert torch.equal(module.weight, torch.ones(3, 2))
