"""Derive seeds from positions, and keep global random states as they were."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def derive_seed(*parts: int | str) -> int:
    """Derive one seed from what a random stream belongs to.

    The same parts give the same seed on every machine; parts that differ
    anywhere, order included, give unrelated seeds. So a stream can be
    rebuilt from its position alone, for instance
    ``derive_seed(seed, 'search', index, 'step', step, rank)``.

    Args:
        parts: Non-negative integers and short words.

    Returns:
        A seed in [0, 2**32), which Python, NumPy and torch all accept.

    Raises:
        ValueError: If an integer is negative.

    Example:
        >>> derive_seed(0, 'search', 1) == derive_seed(0, 'search', 1)
        True
        >>> derive_seed(0, 'search', 1) == derive_seed(0, 'search', 2)
        False
    """
    words: list[int] = []
    for part in parts:
        if isinstance(part, str):
            code = int.from_bytes(part.encode(), 'big')
            kind = 1
        elif part < 0:
            raise ValueError(f'a seed is made of numbers >= 0, got {part}')
        else:
            code = int(part)
            kind = 0
        # Kind and length lead, so that no two lists of parts coincide.
        digits = [code >> 32 * i & 0xFFFFFFFF for i in range(_words(code))]
        words += [kind, len(digits), *digits]
    state = np.random.SeedSequence(words).generate_state(1, np.uint32)
    return int(state[0])


def _words(value: int) -> int:
    return max(1, -(-value.bit_length() // 32))


def seed_all(seed: int) -> None:
    """Seed the global generators of Python, NumPy and torch, CUDA included.

    Args:
        seed: In [0, 2**32).
    """
    random.seed(seed)
    np.random.seed(seed)
    # Seeds every CUDA device too, lazily where CUDA is not yet in use.
    torch.manual_seed(seed)


@contextmanager
def preserved_rng(cuda: bool = True) -> Iterator[None]:
    """Restore the global random states of Python, NumPy and torch on exit.

    Whatever runs inside may draw and seed freely; the code after the block
    sees the very numbers that it would have seen without the block, after an
    exception too.

    Args:
        cuda: Whether CUDA devices are covered; not to be in the worker of a
            loader.
    """
    python_state = random.getstate()
    numpy_state = np.random.get_state()
    torch_state = torch.get_rng_state()
    cuda_states = (
        torch.cuda.get_rng_state_all()
        if cuda and torch.cuda.is_available()
        else None
    )
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        torch.set_rng_state(torch_state)
        if cuda_states is not None:
            torch.cuda.set_rng_state_all(cuda_states)
