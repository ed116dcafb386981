"""Keep CIFAR-100 in device memory, and give whole batches of it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.device import get_device
from mmpretrain.structures import DataSample
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from mmtst.datasets.cifar_files import (
    SIDE,
    SPLITS,
    LabelledImages,
    read_classes,
    read_split,
)
from mmtst.datasets.collate import WholeBatch
from mmtst.datasets.crops import crop_and_flip, draw_crops
from mmtst.datasets.subsets import choose_classes, keep_fraction
from mmtst.registry import DATASETS
from mmtst.structures import LabelBatch
from mmtst.utils.checks import check_choice, check_flag, check_number
from mmtst.utils.errors import ConfigError

_LOADERS = {'train': 'train_dataloader', 'test': 'val_dataloader'}


@DATASETS.register_module()
class CIFAR100(Dataset[Any]):
    """Read CIFAR-100's own files, and load, crop and flip on the device.

    All images lie in the device's memory, as bytes (154 MB). A loader that
    asks for a batch gets one tensor, and in training one
    :class:`~mmtst.structures.LabelBatch` for all labels; so its collation is
    to be ``dict(type='mmtst.keep_batch')``. Crops and flips are drawn from
    torch's global generator on the CPU, in one call for a batch. Images have
    the values 0 to 255, RGB, borders black.

    Nothing is downloaded, and files are read without running what they name.

    Args:
        data_root: Folder that holds ``cifar-100-python``, with ``train``,
            ``test`` and ``meta``. Any set of 32 x 32 images in this layout
            will do; ``meta`` says how many classes there are.
        split: ``train`` or ``test``. Test images are neither cropped nor
            flipped.
        crop_padding: Border for the random crop, 0 to 32 pixels.
        flip: Probability of a horizontal flip.
        batched: Whether a training batch has one data sample for all. Batch
            augments such as mixup need one for each image, ``False``; the
            test split gives one for each in any case.
        fraction: Share of each class to keep, in (0, 1].
        fraction_seed: Chooses which; with the same seed a larger share has
            all images of a smaller one.
        classes: Which classes, relabelled from 0: ``None`` for all, a number
            for the first so many, or a list of names or indices.
        device: Where the images lie; ``None`` for where mmengine puts the
            model. Worker processes are for the CPU alone.
        pipeline: What mmpretrain's inferencers, which look for it here, do to
            pictures from elsewhere; this set does not use it.

    Raises:
        ConfigError: A file is not there or not as it is to be, or an option
            is out of range.
    """

    def __init__(
        self,
        data_root: str | Path,
        split: str = 'train',
        crop_padding: int = 4,
        flip: float = 0.5,
        batched: bool = True,
        fraction: float = 1.0,
        fraction_seed: int = 0,
        classes: int | Sequence[str | int] | None = None,
        device: str | None = None,
        pipeline: Sequence[Any] | None = None,
    ) -> None:
        del pipeline
        check_choice('train_dataloader.dataset.split', split, SPLITS)
        self._where = where = f'{_LOADERS[split]}.dataset'
        check_number(
            f'{where}.crop_padding',
            crop_padding,
            least=0,
            most=SIDE,
            whole=True,
        )
        check_number(f'{where}.flip', flip, least=0, most=1)
        check_flag(f'{where}.batched', batched)
        check_number(f'{where}.fraction', fraction, above=0, most=1)
        check_number(
            f'{where}.fraction_seed',
            fraction_seed,
            least=0,
            below=2**64,
            whole=True,
        )
        names = read_classes(data_root, where)
        chosen = choose_classes(names, classes, f'{where}.classes')
        found = read_split(data_root, split, len(names), where)
        if classes is not None:
            found = _keep_classes(found, chosen)
        if not len(found.labels):
            raise ConfigError(
                f'the {split} split has no image of the classes',
                where=f'{where}.classes',
                got=classes,
            )
        if fraction < 1:
            kept = keep_fraction(*found, fraction, fraction_seed)
            found = LabelledImages(found.images[kept], found.labels[kept])
        self.split = split
        self.crop_padding = crop_padding
        self.flip = flip
        self.batched = batched and split == 'train'
        self.device = _check_device(device, f'{where}.device')
        self._metainfo = {'classes': tuple(names[i] for i in chosen)}
        self._labels = torch.from_numpy(found.labels)
        self._device_labels = self._labels.to(self.device)
        self._images = torch.from_numpy(found.images).to(self.device)

    @property
    def metainfo(self) -> dict[str, Any]:
        """Return the names of the classes as ``classes``."""
        return copy.deepcopy(self._metainfo)

    @property
    def num_classes(self) -> int:
        """Return the number of classes, of absent ones too."""
        return len(self._metainfo['classes'])

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Load one image.

        Returns:
            ``inputs``, (3, 32, 32), uint8, and ``data_samples``, a
            ``DataSample``.
        """
        numbers = self._check([index])
        images, _ = self._load(numbers)
        return {
            'inputs': images[0],
            'data_samples': self._sample(int(numbers[0])),
        }

    def __getitems__(self, indices: Sequence[int]) -> Any:
        """Load a batch; torch's loader asks for batches by this method.

        Returns:
            A ``dict`` of ``inputs``, (B, 3, 32, 32), uint8, on the device,
            and ``data_samples``, one ``LabelBatch`` in a list; where each
            image has a data sample of its own a list of what
            :meth:`__getitem__` gives.
        """
        numbers = self._check(indices)
        images, on_device = self._load(numbers)
        if not self.batched:
            return [
                {'inputs': image, 'data_samples': self._sample(number)}
                for image, number in zip(images, numbers.tolist(), strict=True)
            ]
        batch = LabelBatch(metainfo=self._sample_meta())
        batch.set_gt_label(self._device_labels[on_device])
        batch.sample_idx = on_device
        return WholeBatch(inputs=images, data_samples=[batch])

    def _load(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, 3, 32, 32) images, and their numbers on the device."""
        moves = self.split == 'train' and (self.crop_padding or self.flip)
        if not moves:
            numbers = numbers.to(self.device)
            return self._images[numbers], numbers
        crops = draw_crops(len(numbers), self.crop_padding, self.flip)
        # One transfer for all.
        numbers, *parts = torch.cat([numbers[None], crops]).to(self.device)
        images = self._images[numbers]
        crops = torch.stack(parts)
        return crop_and_flip(images, crops, self.crop_padding), numbers

    def _check(self, indices: Sequence[int]) -> Tensor:
        """Return (B,) numbers of images, from 0; refuse workers."""
        worker = get_worker_info()
        if worker is not None and self.device.type != 'cpu':
            raise ConfigError(
                'worker processes cannot load from the memory of a device',
                where=f'{_LOADERS[self.split]}.num_workers',
                got=worker.num_workers,
                allowed='0: nothing is left for workers to do',
                fix="set num_workers=0, or device='cpu' on the data set",
            )
        count = len(self)
        for index in indices:
            # A device would be lost to the process by one that is beyond.
            if not -count <= index < count:
                raise IndexError(f'no image {index} among {count}')
        return torch.tensor(
            [int(index) % count for index in indices], dtype=torch.long
        )

    def _sample(self, number: int) -> DataSample:
        sample = DataSample(metainfo=self._sample_meta(sample_idx=number))
        return sample.set_gt_label(int(self._labels[number]))

    def _sample_meta(self, **more: int) -> dict[str, Any]:
        size = (SIDE, SIDE)
        meta = dict(img_shape=size, ori_shape=size, **more)
        return dict(meta, num_classes=self.num_classes)


def _keep_classes(
    found: LabelledImages, chosen: tuple[int, ...]
) -> LabelledImages:
    """Keep and relabel the images of some classes."""
    relabelled = found.labels * 0 - 1
    for new, old in enumerate(chosen):
        relabelled[found.labels == old] = new
    kept = relabelled >= 0
    return LabelledImages(found.images[kept], relabelled[kept])


def _check_device(device: Any, where: str) -> torch.device:
    """Return the device, once something could be put there."""
    if device is None:
        device = get_device()
    try:
        place = torch.device(device)
        torch.zeros(1, device=place)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ConfigError(
            f'the device cannot be used: {str(error).splitlines()[0]}',
            where=where,
            got=device,
            allowed="'cpu', 'cuda', 'cuda:1' and the like, or None for "
            "mmengine's choice",
        ) from error
    return place
