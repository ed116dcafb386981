"""Check the options of an augmentation."""

from __future__ import annotations

from typing import Literal, Protocol, get_args

from mmtst.augmentation.base import OPERATORS
from mmtst.augmentation.gates import GATE_FORMS
from mmtst.augmentation.image_space import Fill
from mmtst.augmentation.presets import NETWORKS
from mmtst.geometry import Aspect
from mmtst.utils.errors import ConfigError

Composition = Literal['matrix_sum', 'image_sum']
_WHERE = 'model.augmentation'


class Options(Protocol):
    """Name the options to check; ``AugmentationEncoder`` explains them."""

    gate: str
    composition: str
    aspect: str
    fill: str
    network: str
    channel_order: str
    num_operators: int
    temperature: float
    apply_prob: float
    encoder_noise_std: float
    cutout_fraction: float
    clamp_theta: float


def check_options(options: Options) -> None:
    """Raise unless all options can be used.

    Args:
        options: An encoder, or anything with the same attributes.

    Raises:
        ConfigError: An option is unknown or out of range.
    """
    for name, words in (
        ('gate', GATE_FORMS),
        ('composition', get_args(Composition)),
        ('aspect', get_args(Aspect)),
        ('fill', get_args(Fill)),
        ('network', NETWORKS),
        ('channel_order', ('auto', 'rgb', 'bgr')),
    ):
        check_choice(name, getattr(options, name), words)
    count = len(OPERATORS)
    for name, fits, allowed in (
        (
            'num_operators',
            1 <= options.num_operators <= count,
            f'1 to {count}',
        ),
        ('temperature', options.temperature > 0, 'over 0'),
        ('apply_prob', 0 < options.apply_prob <= 1, 'over 0, at most 1'),
        ('encoder_noise_std', options.encoder_noise_std >= 0, '0 or more'),
        (
            'cutout_fraction',
            0 < options.cutout_fraction <= 2,
            'over 0, at most 2',
        ),
        ('clamp_theta', options.clamp_theta > 0, 'over 0'),
    ):
        if not fits:
            raise ConfigError(
                f'{name} is out of range',
                where=f'{_WHERE}.{name}',
                got=getattr(options, name),
                allowed=allowed,
            )


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise unless an option is one of the words allowed.

    Raises:
        ConfigError: It is not.
    """
    if value not in allowed:
        raise ConfigError(
            f'Unknown {name}',
            where=f'{_WHERE}.{name}',
            got=value,
            allowed=', '.join(allowed),
        )
