"""Read the losses that a model returns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor


def task_losses(losses: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the losses in a model's loss dict as scalars by name.

    As in mmengine's ``parse_losses``: only entries with ``loss`` in their
    name count; a tensor counts by its mean, a list by the sum of its
    tensors' means. Entries of nested dicts are named ``outer.inner``.

    Raises:
        TypeError: If an entry is neither tensor, list nor dict.
    """
    return {
        name: sum((tensor.mean() for tensor in tensors[1:]), tensors[0].mean())
        for name, tensors in _flatten(losses)
        if 'loss' in name and tensors
    }


def _flatten(losses: Mapping[str, Any]) -> Iterator[tuple[str, list[Tensor]]]:
    """Yield each entry of a loss dict with the tensors in it."""
    for name, value in losses.items():
        if isinstance(value, Tensor):
            yield name, [value]
        elif isinstance(value, Mapping):
            for inner, tensors in _flatten(value):
                yield f'{name}.{inner}', tensors
        elif isinstance(value, (list, tuple)):
            inside = [
                tensor
                for _, tensors in _flatten(
                    {f'{name}.{i}': item for i, item in enumerate(value)}
                )
                for tensor in tensors
            ]
            yield name, inside
        elif 'loss' in name:
            raise TypeError(
                f'The loss {name!r} is a {type(value).__name__}, neither a '
                'tensor nor a list or dict of tensors.'
            )
