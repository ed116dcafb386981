"""Put torchvision's augmentations in the place of the policy, for arms.

A config loads this by ``benchmarks.torchvision_augmentation`` among its
``custom_imports``. Labels do not follow what is moved: for classification
alone.
"""

from __future__ import annotations

from typing import Any

import torch
from mmpretrain.models import ClsDataPreprocessor
from torch import Tensor
from torchvision.transforms import v2

from mmtst.augmentation import AugmentationEncoder, AugmentDraw, Policy
from mmtst.augmentation.base import AugmentRecord
from mmtst.registry import MODELS
from mmtst.utils.checks import check_choice

# Of torchvision.transforms.v2, for images in bytes.
TRANSFORMS = ('AutoAugment', 'RandAugment', 'TrivialAugmentWide', 'AugMix')


@MODELS.register_module()
class TorchvisionEncoder(AugmentationEncoder):
    """Let torchvision make the second view, from the same crop.

    Args:
        transform: One of ``TRANSFORMS``, with its own defaults.
        kwargs: Of the encoder, whose own operators are never applied.

    Raises:
        ConfigError: An unknown transform.
    """

    def __init__(self, transform: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.transform = _built(transform, 'model.augmentation.transform')

    def resolve(
        self,
        draw: AugmentDraw,
        policy: Policy | None = None,
        temperature: float | None = None,
    ) -> AugmentRecord:
        """Resolve with all gates closed."""
        closed = Policy(torch.full_like(self.th_p, -30.0), self.th_m)
        return super().resolve(draw, closed, temperature)

    def augment(self, images: Tensor, record: AugmentRecord) -> Tensor:
        """Transform images (B, 3, H, W); no gradient."""
        space = self.image_space
        raw = (space.to_raw(images) * 255).round().clamp(0, 255)
        # Crops are drawn from the global generator: the other arms' are to
        # stay the same, and so is the view of a record.
        with torch.random.fork_rng(devices=[]):
            noise = record.draw.gate_noise[0, :1].float().cpu()
            torch.default_generator.manual_seed(int(noise.view(torch.int32)))
            changed = transform_each(self.transform, raw.to(torch.uint8))
        return space.to_network(changed.to(images) / 255)


@MODELS.register_module()
class TorchvisionPreprocessor(ClsDataPreprocessor):  # type: ignore[misc]
    """Transform training images before they are normalized.

    Args:
        transform: As in :class:`TorchvisionEncoder`.
        kwargs: Of mmpretrain's preprocessor.
    """

    def __init__(self, transform: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        where = 'model.data_preprocessor.transform'
        self.transform = _built(transform, where)

    def forward(
        self, data: dict[str, Any], training: bool = False
    ) -> dict[str, Any]:
        """Transform ``inputs``, (B, 3, H, W) in bytes, and go on as usual."""
        if training:
            changed = transform_each(self.transform, data['inputs'])
            data = {**data, 'inputs': changed}
        result: dict[str, Any] = super().forward(data, training)
        return result


def _built(transform: str, where: str) -> v2.Transform:
    check_choice(where, transform, TRANSFORMS)
    return getattr(v2, transform)()


def transform_each(transform: v2.Transform, images: Tensor) -> Tensor:
    """Transform each image of a batch by a draw of its own."""
    return torch.stack([transform(image) for image in images])
