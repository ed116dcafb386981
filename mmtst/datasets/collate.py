"""Hand on batches that a data set has put together itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dataset import pseudo_collate

from mmtst.registry import FUNCTIONS
from mmtst.utils.errors import ConfigError


class WholeBatch(dict[str, Any]):
    """Hold a batch, and say so to a collation that wants a list of samples.

    Raises:
        ConfigError: It is asked for its first sample.
    """

    def __missing__(self, key: object) -> Any:
        if not isinstance(key, int):
            raise KeyError(key)
        raise ConfigError(
            'the data set gives whole batches, and the loader collates '
            'single samples',
            where='train_dataloader.collate_fn',
            allowed="dict(type='mmtst.keep_batch')",
            fix="add collate_fn=dict(type='mmtst.keep_batch') to the loader, "
            'or set batched=False on the data set',
        )


@FUNCTIONS.register_module()  # type: ignore[untyped-decorator]
def keep_batch(batch: dict[str, Any] | Sequence[Any]) -> Any:
    """Collate what may be a batch already.

    Args:
        batch: A whole batch as a ``dict``, or a list of samples.

    Returns:
        The whole batch; or mmengine's ``pseudo_collate`` of the samples, with
        ``inputs`` of one size stacked, (B, C, H, W).
    """
    if isinstance(batch, dict):
        return dict(batch)
    collated = pseudo_collate(batch)
    inputs = collated.get('inputs') if isinstance(collated, dict) else None
    if (
        isinstance(inputs, list)
        and all(isinstance(image, torch.Tensor) for image in inputs)
        and len({image.shape for image in inputs}) == 1
    ):
        collated['inputs'] = torch.stack(inputs)
    return collated
