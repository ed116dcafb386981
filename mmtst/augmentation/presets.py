"""Name the ways of doing TST's augmentation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from mmtst.augmentation.gates import GateForm

Network = Literal['quadratic', 'paper', 'official']
NETWORKS: tuple[str, ...] = get_args(Network)


@dataclass(frozen=True)
class Preset:
    """Hold what one word stands for; without arguments, the default.

    Attributes:
        gate: Form of the relaxed Bernoulli gates.
        per_sample: Whether each image has its own operators, gates, mirror
            signs and cutout place, or the whole batch shares them. (The
            additional gates and the affine encoders' noise always differ
            between images.)
        magnitude_gate: Whether magnitudes too go through a relaxed
            Bernoulli, Eq. 4.
        apply_prob: Probability of the additional gates on A, scale and
            shift.
        encoder_noise_std: Of the noise on the encoders' inputs.
        color_first: Whether color comes before the warp.
        network: Which meta-encoders, and so which prior.
    """

    gate: GateForm = 'logit'
    per_sample: bool = True
    magnitude_gate: bool = False
    apply_prob: float = 1.0
    encoder_noise_std: float = 0.0
    color_first: bool = False
    network: Network = 'quadratic'


PRESETS = {
    'default': Preset(),
    # The equations as printed. The paper gives no number for the additional
    # gates; 0.98 is the mean of the published encoders.
    'paper': Preset(
        gate='log',
        per_sample=False,
        magnitude_gate=True,
        apply_prob=0.98,
        network='paper',
    ),
    # What the reference code does.
    'official': Preset(
        gate='sigmoid_as_logit',
        per_sample=False,
        apply_prob=0.98,
        encoder_noise_std=0.01,
        color_first=True,
        network='official',
    ),
}
