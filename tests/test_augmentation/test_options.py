from __future__ import annotations

import pytest

from mmtst.augmentation import AugmentationEncoder
from mmtst.augmentation.options import check_choice, check_options
from mmtst.utils.errors import ConfigError


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(preset='best'), 'default, paper, official'),
        (dict(gate='hard'), 'logit, log, sigmoid_as_logit'),
        (dict(network='mlp'), 'quadratic, paper, official'),
        (dict(composition='chain'), 'matrix_sum, image_sum'),
        (dict(aspect='square'), 'normalized, corrected'),
        (dict(fill='white'), 'mean, black'),
        (dict(channel_order='gbr'), 'auto, rgb, bgr'),
        (dict(num_operators=0), '1 to 14'),
        (dict(num_operators=15), '1 to 14'),
        (dict(temperature=0.0), 'over 0'),
        (dict(apply_prob=0.0), 'over 0, at most 1'),
        (dict(apply_prob=1.5), 'over 0, at most 1'),
        (dict(encoder_noise_std=-1.0), '0 or more'),
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


def test_every_named_choice_is_taken():
    for name, words in (
        ('composition', ('matrix_sum', 'image_sum')),
        ('aspect', ('normalized', 'corrected')),
        ('fill', ('mean', 'black')),
        ('channel_order', ('auto', 'rgb', 'bgr')),
        ('network', ('quadratic', 'paper', 'official')),
    ):
        for word in words:
            check_options(AugmentationEncoder(**{name: word}))


def test_check_choice_names_the_option():
    check_choice('fill', 'mean', ('mean', 'black'))
    with pytest.raises(ConfigError, match='Unknown fill') as caught:
        check_choice('fill', 'red', ('mean', 'black'))
    assert 'model.augmentation.fill' in str(caught.value)
