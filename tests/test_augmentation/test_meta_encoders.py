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
    with pytest.raises(ConfigError, match='no such prior'):
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


def test_unknown_names_are_refused():
    with pytest.raises(ConfigError, match=r'Rotate, .*, Sharpness'):
        build_meta_encoder('Invert', 'paper')
    with pytest.raises(ConfigError, match='quadratic, paper, official'):
        build_meta_encoder('Color', 'mlp')
    with pytest.raises(ConfigError, match='quadratic, paper, official'):
        shipped_prior('mlp')
