"""Pass between a network's input and raw intensities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mmtst.utils.checks import check_choice
from mmtst.utils.errors import ConfigError

Fill = Literal['mean', 'black']
CHANNEL_ORDERS = ('auto', 'rgb', 'bgr')
_FLIP_FLAGS = ('_channel_conversion', 'channel_conversion', 'to_rgb')


@dataclass(frozen=True)
class ImageSpace:
    """Know how a network's input was made from an image.

    The input is (values in 0..255 - mean) / std; *raw* is RGB in [0, 1].

    Attributes:
        mean: Three numbers in the order of the network's channels, 0..255.
        std: The same for the standard deviation.
        bgr: Whether the network's channels are blue, green, red.
    """

    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    bgr: bool = False

    @classmethod
    def from_preprocessor(
        cls, data_preprocessor: nn.Module, channel_order: str = 'auto'
    ) -> ImageSpace:
        """Read the normalization off an mm data preprocessor.

        Args:
            data_preprocessor: Of mmengine, mmdet, mmseg or mmpretrain.
            channel_order: Of the network's input, ``rgb`` or ``bgr``;
                ``auto`` takes images to be loaded as BGR, which is what the
                mm pipelines do (array data sets such as CIFAR are RGB).

        Returns:
            The space; mean 0 and std 1 where nothing is normalized.

        Raises:
            ConfigError: Not three channels, a std of 0, a preprocessor that
                normalizes in a way of its own, or an unknown channel order.
        """
        check_choice(
            'model.augmentation.channel_order', channel_order, CHANNEL_ORDERS
        )
        if not hasattr(data_preprocessor, '_enable_normalize'):
            raise ConfigError(
                'The data preprocessor does not say how it normalizes',
                where='model.data_preprocessor',
                got=type(data_preprocessor).__name__,
                allowed="subclasses of mmengine's ImgDataPreprocessor, "
                "mmseg's SegDataPreProcessor, mmpretrain's "
                'ClsDataPreprocessor',
                fix='give the student one of these',
            )
        flipped = any(
            bool(getattr(data_preprocessor, flag, False))
            for flag in _FLIP_FLAGS
        )
        bgr = (
            not flipped if channel_order == 'auto' else channel_order == 'bgr'
        )
        if not data_preprocessor._enable_normalize:
            return cls(bgr=bgr)
        mean = _three_numbers(data_preprocessor.mean, 'mean')
        std = _three_numbers(data_preprocessor.std, 'std')
        if min(std) <= 0:
            raise ConfigError(
                'The standard deviation must be over 0',
                where='model.data_preprocessor.std',
                got=std,
            )
        return cls(mean, std, bgr)

    def to_raw(self, images: Tensor) -> Tensor:
        """Turn network input (B, 3, H, W) into RGB in [0, 1]."""
        raw = (images * self._row(self.std, images)) + self._row(
            self.mean, images
        )
        return self._reorder(raw / 255)

    def to_network(self, raw: Tensor) -> Tensor:
        """Turn RGB in [0, 1], (B, 3, H, W), into network input."""
        values = self._reorder(raw) * 255
        return (values - self._row(self.mean, raw)) / self._row(self.std, raw)

    def delta_to_network(self, delta: Tensor) -> Tensor:
        """Turn a raw difference (B, 3, H, W) into one of network input.

        A difference of zero stays zero exactly.
        """
        return self._reorder(delta) * (255 / self._row(self.std, delta))

    def fold(self, kernels: Tensor) -> Tensor:
        """Fold both passages into kernels, in place of two over the images.

        Args:
            kernels: (B, 3, 4, k, k), which make a raw difference from raw
                images minus 1/2 and, in the fourth channel, ones.

        Returns:
            (B, 3, 4, k, k), which make the same difference of network input
            from network input and ones.
        """
        weights, shift = self._reorder(kernels).split([3, 1], dim=2)
        if self.bgr:
            weights = weights.flip(2)
        std = kernels.new_tensor(self.std)
        center = kernels.new_tensor(self.mean) / 255 - 0.5
        constant = (weights * center.view(3, 1, 1)).sum(dim=2, keepdim=True)
        shift = (shift + constant) * 255
        weights = weights * std.view(3, 1, 1)
        folded = torch.cat([weights, shift], dim=2)
        return folded / std.view(3, 1, 1, 1)

    def fill_raw(self, fill: Fill, like: Tensor) -> Tensor:
        """Return the color that stands for nothing, raw RGB.

        Args:
            fill: ``mean`` (of the preprocessor; mid-gray where it has none)
                or ``black``.
            like: A tensor of the dtype and device wanted.

        Returns:
            Shape (3,), in [0, 1].
        """
        if fill == 'black':
            return like.new_zeros(3)
        if not any(self.mean):
            return like.new_full((3,), 0.5)
        mean = like.new_tensor(self.mean) / 255
        return mean.flip(0) if self.bgr else mean

    def fill_network(self, fill: Fill, like: Tensor) -> Tensor | float:
        """Return the same color as network input: 0.0, or (3,)."""
        if fill == 'mean' and any(self.mean):
            return 0.0
        raw = self.fill_raw(fill, like).view(1, 3, 1, 1)
        return self.to_network(raw).view(3)

    def _reorder(self, images: Tensor) -> Tensor:
        return images.flip(1) if self.bgr else images

    @staticmethod
    def _row(numbers: tuple[float, float, float], like: Tensor) -> Tensor:
        return like.new_tensor(numbers).view(1, 3, 1, 1)


def _three_numbers(value: Any, name: str) -> tuple[float, float, float]:
    """Read a buffer of one or three numbers."""
    numbers = torch.as_tensor(value).flatten().tolist()
    if len(numbers) == 1:
        numbers = numbers * 3
    if len(numbers) != 3:
        raise ConfigError(
            'The augmentation works on images of three channels',
            where=f'model.data_preprocessor.{name}',
            got=numbers,
            allowed='3 numbers, or 1 for all three channels',
        )
    return float(numbers[0]), float(numbers[1]), float(numbers[2])
