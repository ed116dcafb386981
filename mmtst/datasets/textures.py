"""Paint surfaces and light them, from a numpy generator."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def texture(
    rng: np.random.Generator,
    height: int,
    width: int,
    contrast: float = 0.6,
) -> Array:
    """Paint a surface: two colors, mixed by a random pattern.

    The pattern is one of cloudy noise, stripes, checks, a gradient or plain.

    Args:
        rng: Where all randomness comes from.
        height: In pixels.
        width: In pixels.
        contrast: Largest difference of the two colors, in [0, 1].

    Returns:
        (height, width, 3), RGB, in [0, 1].
    """
    first = rng.uniform(0.05, 0.95, 3)
    change = rng.uniform(-contrast, contrast, 3)
    second = np.clip(first + change, 0, 1)
    kind = int(rng.integers(5))
    if kind == 0:
        mix = _clouds(rng, height, width)
    elif kind in (1, 2):
        mix = _waves(rng, height, width, checks=kind == 2)
    elif kind == 3:
        mix = _ramp(rng, height, width)
    else:
        mix = 0.3 * _clouds(rng, height, width)
    colors = np.stack([first, second - first]).astype(np.float32)
    return np.asarray(colors[0] + mix[..., None] * colors[1], np.float32)


def light(rng: np.random.Generator, surface: Array) -> NDArray[np.uint8]:
    """Photograph a surface: uneven light, gamma, blur and noise.

    Args:
        rng: Where all randomness comes from.
        surface: (H, W, 3), RGB, in [0, 1]; not changed.

    Returns:
        (H, W, 3), RGB, uint8.
    """
    height, width = surface.shape[:2]
    slope = (_ramp(rng, height, width) - 0.5) * rng.uniform(0, 0.7)
    gain = np.float32(rng.uniform(0.7, 1.2)) * (1 + slope)
    lit = np.clip(surface * gain.astype(np.float32)[..., None], 1e-3, 1)
    lit = cv2.pow(lit, float(rng.uniform(0.7, 1.4)))
    if rng.random() < 0.3:
        lit = cv2.GaussianBlur(lit, (0, 0), float(rng.uniform(0.4, 1.1)))
    sigma = np.float32(rng.uniform(0.0, 0.05))
    noise = rng.standard_normal(lit.shape, dtype=np.float32)
    shot = np.clip(lit + sigma * noise, 0, 1)
    return np.asarray(np.round(shot * 255), np.uint8)


def _clouds(rng: np.random.Generator, height: int, width: int) -> Array:
    """Sum smooth noise of three scales, (height, width) in [0, 1]."""
    total = np.zeros((height, width), np.float32)
    for cells, weight in ((3, 0.5), (8, 0.3), (24, 0.2)):
        grid = rng.random((cells, cells), dtype=np.float32)
        total += weight * cv2.resize(
            grid, (width, height), interpolation=cv2.INTER_LINEAR
        )
    return total


def _waves(
    rng: np.random.Generator, height: int, width: int, *, checks: bool
) -> Array:
    """Draw stripes, or checks of two crossing sets of them."""
    angle = rng.uniform(0, np.pi)
    period = rng.uniform(5, 24)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    along = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
    pattern = np.sin(along * np.float32(2 * np.pi / period))
    if checks:
        across = y * np.float32(np.cos(angle)) - x * np.float32(np.sin(angle))
        pattern = pattern * np.sin(across * np.float32(2 * np.pi / period))
    # A steepness from soft waves to hard edges.
    steep = np.float32(rng.uniform(1, 6))
    return np.asarray(0.5 + 0.5 * np.clip(steep * pattern, -1, 1), np.float32)


def _ramp(rng: np.random.Generator, height: int, width: int) -> Array:
    """Draw a linear gradient in a random direction, in [0, 1]."""
    angle = rng.uniform(0, 2 * np.pi)
    y = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None]
    x = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None]
    field = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
    return np.asarray(field / np.sqrt(2) + 0.5, np.float32)
