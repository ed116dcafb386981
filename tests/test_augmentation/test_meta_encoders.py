from __future__ import annotations

import pytest
import torch

from mmtst.augmentation.base import MAGNITUDE_OPERATORS
from mmtst.augmentation.meta_encoders import (
    build_meta_encoder,
    build_meta_encoders,
    load_prior,
    prior_names,
    save_prior,
    shipped_prior,
)
from mmtst.augmentation.presets import NETWORKS
from mmtst.utils.errors import ConfigError
from mmtst.utils.safe_reading import trust_checkpoints

pytestmark = pytest.mark.usefixtures('checkpoints_as_before')


@pytest.mark.parametrize('network', NETWORKS)
def test_a_prior_survives_its_file(network, tmp_path):
    prior = {
        name: {
            key: torch.randn_like(value)
            for key, value in build_meta_encoder(name, network).named_buffers()
        }
        for name in prior_names()
    }
    path = tmp_path / 'deep' / 'prior.pth'
    save_prior(path, network, prior)
    encoders = build_meta_encoders(network, load_prior(path, network))
    assert tuple(encoders) == MAGNITUDE_OPERATORS
    for name, encoder in encoders.items():
        for key, value in encoder.named_buffers():
            assert value.equal(prior[name][key])
    assert not list(encoders.parameters())


@pytest.mark.parametrize('network', NETWORKS)
def test_the_package_ships_a_prior_for_every_network(network):
    prior = load_prior(shipped_prior(network), network)
    encoders = build_meta_encoders(network, prior)
    for encoder in encoders.values():
        assert all(value.isfinite().all() for value in encoder.buffers())


def test_tensors_that_do_not_fit_are_named():
    prior = load_prior(shipped_prior('quadratic'), 'quadratic')
    del prior['Color']
    prior['Rotate']['coefficients'] = torch.zeros(6, 1)
    prior['Twist'] = {'weight': torch.zeros(1)}
    with pytest.raises(ConfigError) as caught:
        build_meta_encoders('quadratic', prior)
    message = str(caught.value)
    assert 'missing Color.coefficients' in message
    assert 'unknown Twist.weight' in message
    assert 'Rotate.coefficients is (6, 1), not (6, 3)' in message
    assert 'fit_prior.py --network quadratic' in message


def test_a_prior_of_another_network_is_refused():
    with pytest.raises(ConfigError, match='network paper, format 1') as caught:
        load_prior(shipped_prior('paper'), 'quadratic')
    assert 'allowed: network quadratic' in str(caught.value)


def test_files_that_are_no_prior_are_refused(tmp_path):
    with pytest.raises(ConfigError, match='does not exist'):
        load_prior(tmp_path / 'missing.pth', 'paper')
    broken = tmp_path / 'broken.pth'
    broken.write_bytes(b'not a checkpoint')
    with pytest.raises(ConfigError, match='not a prior'):
        load_prior(broken, 'paper')
    other = tmp_path / 'other.pth'
    torch.save(dict(network='paper', state_dict={}), other)
    with pytest.raises(ConfigError, match='no format, encoders'):
        load_prior(other, 'paper')
    torch.save([1, 2], other)
    with pytest.raises(ConfigError, match='no format, network, encoders'):
        load_prior(other, 'paper')


class Payload:
    def __reduce__(self):
        return (print, ('executed',))


def test_a_file_with_code_in_it_is_not_executed(tmp_path, capsys):
    path = tmp_path / 'evil.pth'
    torch.save(dict(format=1, network='paper', encoders=Payload()), path)
    with pytest.raises(ConfigError, match='not a prior'):
        load_prior(path, 'paper')
    assert 'executed' not in capsys.readouterr().out


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(format='1'), 'format 1'),
        (dict(format=torch.ones(2)), 'format Tensor'),
        (dict(format=2), 'format 2'),
        (dict(network=['paper'] * 9), 'network list'),
        (dict(encoders=None), 'encoders are no dictionary'),
        (dict(encoders=[1]), 'encoders are no dictionary'),
        (dict(encoders={'Rotate': 1}), "'Rotate' is no dictionary"),
        (dict(encoders={'Rotate': {'bias': 1}}), 'Rotate.bias is no tensor'),
        (
            dict(encoders={'Rotate': {'bias': torch.ones(2).int()}}),
            'Rotate.bias is no tensor of floating-point',
        ),
        (
            dict(encoders={'Rotate': {'bias': torch.tensor([float('nan')])}}),
            'Rotate.bias holds numbers that are not finite',
        ),
        (
            dict(encoders={'Rotate': {'bias': torch.ones(1).expand(1 << 40)}}),
            'many times larger',
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_priors_of_wrong_content_are_refused(tmp_path, change, message):
    path = tmp_path / 'x.pth'
    content = dict(format=1, network='paper', encoders={})
    torch.save({**content, **change}, path)
    with pytest.raises(ConfigError, match=message) as caught:
        load_prior(path, 'paper')
    text = str(caught.value)
    assert 'fit_prior.py --network paper' in text and 'trust' not in text


@pytest.mark.parametrize('legacy', [False, True])
def test_a_prior_never_advises_to_read_it_unsafely(tmp_path, legacy):
    path = tmp_path / 'evil.pth'
    content = dict(format=1, network='paper', encoders=Payload())
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    script = tmp_path / 'script.pth'
    torch.jit.save(torch.jit.script(torch.nn.ReLU()), script)
    trust_checkpoints()
    for file in (path, script):
        with pytest.raises(ConfigError) as caught:
            load_prior(file, 'paper')
        assert 'weights_only' not in str(caught.value)
        assert 'trust' not in str(caught.value)


def test_what_is_no_file_of_a_size_is_no_prior(tmp_path):
    with open(tmp_path / 'large.pth', 'wb') as file:
        file.truncate(1 << 30)
    for path, message in (
        (tmp_path, 'is not a file'),
        (tmp_path / 'large.pth', 'larger than 16 MiB'),
        ('a\0b', 'cannot be read'),
    ):
        with pytest.raises(ConfigError, match=message):
            load_prior(path, 'paper')


def test_unknown_names_are_refused():
    with pytest.raises(ConfigError, match=r'Rotate, .*, Sharpness'):
        build_meta_encoder('Invert', 'paper')
    with pytest.raises(ConfigError, match='quadratic, paper, official'):
        build_meta_encoder('Color', 'mlp')
    with pytest.raises(ConfigError, match='quadratic, paper, official'):
        shipped_prior('mlp')
