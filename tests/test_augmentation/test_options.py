from __future__ import annotations

import pytest

from mmtst.augmentation import AugmentationEncoder
from mmtst.augmentation.options import check_options
from mmtst.utils.errors import ConfigError


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(preset='best'), 'default, paper, official'),
        (dict(gate='hard'), "'logit', 'log', 'sigmoid_as_logit'"),
        (dict(network='mlp'), "'quadratic', 'paper', 'official'"),
        (dict(composition='chain'), "'matrix_sum', 'image_sum'"),
        (dict(aspect='square'), "'normalized', 'corrected'"),
        (dict(fill='white'), "'mean', 'black'"),
        (dict(channel_order='gbr'), 'auto, rgb, bgr'),
        (dict(num_operators=0), 'an integer from 1, up to 14'),
        (dict(num_operators=2.5), 'an integer'),
        (dict(temperature=0.0), 'over 0'),
        (dict(apply_prob=0.0), 'over 0, up to 1'),
        (dict(apply_prob=1.5), 'over 0, up to 1'),
        (dict(encoder_noise_std=-1.0), 'from 0'),
        (dict(cutout_fraction=0.0), 'over 0'),
        (dict(clamp_theta=0.0), 'over 0'),
        (dict(prior='no/such/prior.pth'), 'fit_prior.py'),
    ],
)
def test_wrong_options_say_what_is_allowed(options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        AugmentationEncoder(**options)
    assert f'model.augmentation.{next(iter(options))}' in str(caught.value)
    assert repr(next(iter(options.values()))) in str(caught.value)


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('composition', ('matrix_sum', 'image_sum')),
        ('aspect', ('normalized', 'corrected')),
        ('fill', ('mean', 'black')),
        ('channel_order', ('auto', 'rgb', 'bgr')),
        ('network', ('quadratic', 'paper', 'official')),
    ],
)
def test_every_named_choice_is_taken(name, words):
    for word in words:
        encoder = AugmentationEncoder(**{name: word})
        check_options(encoder)
        assert getattr(encoder, name) == word
