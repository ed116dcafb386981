"""Check the options of an augmentation."""

from __future__ import annotations

from typing import Literal, Protocol, get_args

from mmtst.augmentation.base import OPERATORS
from mmtst.augmentation.gates import GATE_FORMS, GateForm
from mmtst.augmentation.image_space import CHANNEL_ORDERS, Fill
from mmtst.augmentation.presets import NETWORKS, Network
from mmtst.geometry import Aspect
from mmtst.utils.checks import Bounds, check_choice, check_number

Composition = Literal['matrix_sum', 'image_sum']
WHERE = 'model.augmentation'


class Options(Protocol):
    """Name the options to check; ``AugmentationEncoder`` explains them."""

    gate: GateForm
    composition: Composition
    aspect: Aspect
    fill: Fill
    network: Network
    channel_order: str
    num_operators: int
    temperature: float
    magnitude_gate: bool
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
        ('channel_order', CHANNEL_ORDERS),
    ):
        check_choice(f'{WHERE}.{name}', getattr(options, name), words)
    for name, bounds in (
        ('num_operators', Bounds(least=1, most=len(OPERATORS), whole=True)),
        ('temperature', Bounds(above=0)),
        ('apply_prob', Bounds(above=0, most=1)),
        ('encoder_noise_std', Bounds(least=0)),
        ('cutout_fraction', Bounds(above=0, most=2)),
        ('clamp_theta', Bounds(above=0)),
    ):
        check_number(f'{WHERE}.{name}', getattr(options, name), **bounds)
