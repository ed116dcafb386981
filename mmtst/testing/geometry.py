"""Make warps for tests."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor


def centered_matrix(
    size: tuple[int, int],
    angle: float = 0.0,
    shear: float = 0.0,
    scale: float = 1.0,
    shift: tuple[float, float] = (0.0, 0.0),
) -> Tensor:
    """Rotate, shear and scale about the center, then shift.

    Args:
        size: (height, width) in pixels.
        angle: In radians.
        shear: Of x by y.
        scale: Of both axes.
        shift: Of x and y, in sides of the image.

    Returns:
        (2, 3), float64, source -> destination, pixels.
    """
    turn = np.array(
        [
            [math.cos(angle), -math.sin(angle)],
            [math.sin(angle), math.cos(angle)],
        ]
    )
    linear = scale * turn @ np.array([[1, shear], [0, 1]])
    side = np.array([size[1], size[0]])
    moved = side / 2 + side * shift - linear @ (side / 2)
    return torch.tensor(np.c_[linear, moved])
