"""Define the manual operators that the meta-encoders learn to imitate.

These are the f_A of Eq. 3, Stage I's targets: RandAugment's operators from
torchvision, on float RGB images in [0, 1], with a magnitude m in [-1, 1]
that may vary continuously (m in [0, 1] for Posterize and Solarize).

=================  ====================================================
Rotate             30 m degrees, counter-clockwise for m > 0
ShearX, ShearY     factor 0.3 m about the top left corner
TranslateX, Y      150/331 m of the side, right and down for m > 0
Brightness, Color  blend factor 1 + 0.9 m (Color is saturation)
Contrast           the same
Sharpness          the same
Posterize          8 - 4 m bits
Solarize           values of at least 1 - m inverted
=================  ====================================================

Posterize has no classic meaning between whole numbers of bits. Here it is
the blend of the two neighboring whole numbers, in proportion: it is
continuous in m, the identity on 8-bit images at m = 0, and torchvision's
operator at m = 0, 1/4, 1/2, 3/4, 1. (A real-valued step would move the mean
of an 8-bit image by half a level as soon as m leaves zero.)

``binned`` rounds the magnitude the way RandAugment does: ten bins, of which
bin i = min(floor(10 |m|), 9) stands for i / 9, translations in whole
pixels, whole bits 8, 8, 7, 7, 6, 6, 5, 5, 4, 4.
"""

from __future__ import annotations

import math

import torch
import torchvision.transforms.functional as tvf
from torch import Tensor
from torchvision.transforms import InterpolationMode

from mmtst.augmentation.base import (
    AFFINE_OPERATORS,
    MAGNITUDE_OPERATORS,
)
from mmtst.utils.errors import ConfigError

MAX_ANGLE = 30.0
MAX_SHEAR = 0.3
MAX_TRANSLATION = 150 / 331
MAX_BLEND = 0.9
UNSIGNED_OPERATORS = ('Posterize', 'Solarize')
"""Operators whose magnitude has no sign."""


def bin_magnitude(magnitude: float) -> float:
    """Round a magnitude to RandAugment's ten bins, keeping its sign.

    Args:
        magnitude: In [-1, 1].

    Returns:
        One of 0, 1/9, ..., 1, times the sign.
    """
    index = min(int(10 * abs(magnitude)), 9)
    return math.copysign(index / 9, magnitude)


def affine_target(
    name: str, magnitude: float, binned: bool = False, side: int = 32
) -> Tensor:
    """Return the matrix that an affine operator samples its source with.

    Args:
        name: One of ``AFFINE_OPERATORS``.
        magnitude: In [-1, 1].
        binned: Whether to round the magnitude to RandAugment's bins.
        side: Side of the image in pixels; only binned translations, which
            are whole pixels, depend on it.

    Returns:
        Shape (2, 3), float64, output -> input, normalized coordinates
        (-1 and 1 are the outer edges of a square image).

    Raises:
        ConfigError: Unknown operator.
    """
    _check_name(name, AFFINE_OPERATORS)
    strength = bin_magnitude(magnitude) if binned else magnitude
    theta = torch.eye(2, 3, dtype=torch.float64)
    if name == 'Rotate':
        angle = math.radians(MAX_ANGLE * strength)
        theta[0, 0] = theta[1, 1] = math.cos(angle)
        theta[0, 1], theta[1, 0] = -math.sin(angle), math.sin(angle)
    elif name == 'ShearX':
        theta[0, 1] = theta[0, 2] = MAX_SHEAR * strength
    elif name == 'ShearY':
        theta[1, 0] = theta[1, 2] = MAX_SHEAR * strength
    else:
        shift = _translation(strength, side, binned) / side
        theta[0 if name == 'TranslateX' else 1, 2] = -2 * shift
    return theta


def apply_manual(
    name: str,
    images: Tensor,
    magnitude: float,
    binned: bool = False,
    fill: list[float] | None = None,
) -> Tensor:
    """Apply one manual operator at one magnitude to a batch.

    Args:
        name: One of ``MAGNITUDE_OPERATORS``.
        images: Shape (B, 3, H, W), float RGB in [0, 1].
        magnitude: In [-1, 1]; in [0, 1] for Posterize and Solarize.
        binned: Whether to round the magnitude to RandAugment's bins.
        fill: RGB in [0, 1] of what an affine operator brings in from
            outside; black if ``None``.

    Returns:
        New images of the same shape, in [0, 1].

    Raises:
        ConfigError: Unknown operator, or a magnitude out of range.
    """
    _check_name(name, MAGNITUDE_OPERATORS)
    low = 0.0 if name in UNSIGNED_OPERATORS else -1.0
    if not low <= magnitude <= 1.0:
        raise ConfigError(
            f'The magnitude of {name} is out of range',
            got=magnitude,
            allowed=f'{low:g} to 1',
        )
    if name in AFFINE_OPERATORS:
        return _apply_affine(name, images, magnitude, binned, fill)
    strength = bin_magnitude(magnitude) if binned else magnitude
    if name == 'Posterize':
        bits = 8 - int(9 * strength + 0.5) // 2 if binned else 8 - 4 * strength
        return posterize(images, bits)
    if name == 'Solarize':
        solarized: Tensor = tvf.solarize(images, 1.0 - strength)
        return solarized
    adjust = {
        'Brightness': tvf.adjust_brightness,
        'Color': tvf.adjust_saturation,
        'Contrast': tvf.adjust_contrast,
        'Sharpness': tvf.adjust_sharpness,
    }[name]
    adjusted: Tensor = adjust(images, 1.0 + MAX_BLEND * strength)
    return adjusted


def posterize(images: Tensor, bits: float) -> Tensor:
    """Keep a number of bits of every value, blending between whole numbers.

    Args:
        images: Any shape, float in [0, 1]; rounded to 8 bits first.
        bits: In [1, 8].

    Returns:
        Same shape, in [0, 1].
    """
    levels = torch.round(images * 255)
    few = math.floor(bits)
    share = bits - few

    def keep(count: int) -> Tensor:
        step = 2.0 ** (8 - count)
        return torch.floor(levels / step) * step / 255

    kept = keep(few)
    if share == 0:
        return kept
    return kept + share * (keep(few + 1) - kept)


def _apply_affine(
    name: str,
    images: Tensor,
    magnitude: float,
    binned: bool,
    fill: list[float] | None,
) -> Tensor:
    """Warp by torchvision, bilinear, for a square or oblong image.

    Without its fill: that weighs pixels at the border twice, once against
    zeros and once against the fill. Zeros outside of the difference to the
    fill blend to the fill in one sampling.
    """
    strength = bin_magnitude(magnitude) if binned else magnitude
    height, width = images.shape[-2:]
    angle, translate, shear = 0.0, [0.0, 0.0], [0.0, 0.0]
    center = [0, 0] if name.startswith('Shear') else None
    if name == 'Rotate':
        # torchvision's affine turns clockwise for a positive angle.
        angle = -MAX_ANGLE * strength
    elif name == 'ShearX':
        shear[0] = math.degrees(math.atan(MAX_SHEAR * strength))
    elif name == 'ShearY':
        shear[1] = math.degrees(math.atan(MAX_SHEAR * strength))
    elif name == 'TranslateX':
        translate[0] = _translation(strength, width, binned)
    else:
        translate[1] = _translation(strength, height, binned)
    color = images.new_tensor(fill or [0.0, 0.0, 0.0])[:, None, None]
    warped: Tensor = tvf.affine(
        images - color,
        angle=angle,
        translate=translate,
        scale=1.0,
        shear=shear,
        interpolation=InterpolationMode.BILINEAR,
        center=center,
    )
    return warped + color


def _translation(strength: float, side: int, whole: bool) -> float:
    """Return a translation in pixels, truncated to an integer if whole."""
    pixels = MAX_TRANSLATION * side * strength
    return float(int(pixels)) if whole else pixels


def _check_name(name: str, allowed: tuple[str, ...]) -> None:
    if name not in allowed:
        raise ConfigError(
            'Unknown operator for a manual target',
            got=name,
            allowed=', '.join(allowed),
        )


__all__ = [
    'MAX_ANGLE',
    'MAX_BLEND',
    'MAX_SHEAR',
    'MAX_TRANSLATION',
    'UNSIGNED_OPERATORS',
    'affine_target',
    'apply_manual',
    'bin_magnitude',
    'posterize',
]
