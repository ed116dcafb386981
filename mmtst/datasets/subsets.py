"""Choose classes of a labelled set, and a share of each class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmtst.utils.checks import check_number
from mmtst.utils.errors import ConfigError


def choose_classes(
    names: Sequence[str], wanted: Any, where: str
) -> tuple[int, ...]:
    """Return the classes that are wanted, in the order of their new labels.

    Args:
        names: Of all classes.
        wanted: ``None`` for all, a number for the first so many, or a list
            of names and indices.
        where: Path of the option in the config, for error messages.

    Raises:
        ConfigError: A class is unknown or wanted twice, or there is none.
    """
    if wanted is None:
        return tuple(range(len(names)))
    if not isinstance(wanted, (list, tuple)):
        check_number(where, wanted, least=1, most=len(names), whole=True)
        return tuple(range(wanted))
    by_name = {name: index for index, name in enumerate(names)}
    chosen: list[Any] = [
        by_name.get(each, each) if isinstance(each, str) else each
        for each in wanted
    ]
    for given, index in zip(wanted, chosen, strict=True):
        known = type(index) is int and 0 <= index < len(names)
        if not known or chosen.count(index) > 1:
            raise ConfigError(
                'a class is wanted twice' if known else 'no such class',
                where=where,
                got=given,
                allowed='different names or indices of '
                f'{", ".join(names[:8])}{", ..." * (len(names) > 8)}',
            )
    if not chosen:
        raise ConfigError(
            'no class is wanted',
            where=where,
            got=wanted,
            allowed='None, a number, or a list of names or indices',
        )
    return tuple(chosen)


def keep_fraction(
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    fraction: float,
    seed: int,
) -> NDArray[np.int64]:
    """Choose the same share of every class.

    An image is chosen by a hash of its pixels and the seed: the choice does
    not depend on the order of the file, on versions, or on what other
    classes there are, and with one seed a larger fraction has all images of
    a smaller one.

    Args:
        images: (N, ...).
        labels: (N,).
        fraction: In (0, 1]; of a class with n images round(fraction * n)
            are kept, halves upward, and at least one.
        seed: From 0, below 2**64.

    Returns:
        Indices of the images kept, in their order.
    """
    salt = int(seed).to_bytes(16, 'little')
    ranks = [
        blake2b(image.tobytes(), digest_size=16, salt=salt).digest()
        for image in images
    ]
    kept: list[int] = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label).tolist()
        count = max(1, math.floor(fraction * len(members) + 0.5))
        # Equal images come in the order of the file.
        kept += sorted(members, key=lambda i: ranks[i])[:count]
    return np.sort(np.asarray(kept, np.int64))
