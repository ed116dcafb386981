"""Read whole numbers off the samples of a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def sample_numbers(
    samples: Sequence[Any], name: str, loss: str, fix: str
) -> Tensor:
    """Join a field of all samples.

    Args:
        samples: One for each image, or samples that stand for several images
            each and hold a value for every one of them.
        name: The field: whole numbers, as tensors of any shape up to (B,) or
            as plain numbers of the metainfo.
        loss: Name of the loss, for error messages.
        fix: What to do where a sample lacks the field.

    Returns:
        (V,), long: the values of all V images, in order.

    Raises:
        ValueError: A sample lacks the field, or holds something else there.

    Example:
        >>> from mmengine.structures import BaseDataElement
        >>> one = BaseDataElement(sample_idx=torch.tensor(7))
        >>> two = BaseDataElement(sample_idx=torch.tensor([3, 5]))
        >>> sample_numbers([one, two], 'sample_idx', 'SomeLoss', '')
        tensor([7, 3, 5])
    """
    parts = []
    for sample in samples:
        value = getattr(sample, name, None)
        if value is None:
            raise ValueError(f'{loss}: a sample has no {name}; {fix}')
        part = torch.atleast_1d(torch.as_tensor(value))
        if part.dim() > 1 or part.is_floating_point():
            raise ValueError(
                f'{loss}: {name} of a sample has to be a whole number for '
                f'each image, but is {part.dtype} of shape '
                f'{tuple(part.shape)}'
            )
        parts.append(part.long())
    if not parts:
        raise ValueError(f'{loss}: there are no samples')
    return torch.cat(parts)
