"""Hold the labels of a whole batch in one data sample."""

from __future__ import annotations

from typing import Any, NoReturn

from mmpretrain.structures import DataSample

from mmtst.utils.errors import ConfigError

_ONE_EACH = {
    'gt_score': 'batch augments (mixup, CutMix) and one-hot targets',
    'pred_score': 'predictions',
    'pred_label': 'predictions',
}


class LabelBatch(DataSample):  # type: ignore[misc]
    """Stand for a whole batch of labelled images.

    mmpretrain wants one data sample for each image, and making them costs
    more than cropping the images does. Where it reads labels alone it
    concatenates those of all samples; so ``[LabelBatch]`` trains its
    classifiers as a list of as many samples as images would. What has to be
    kept for each image is refused.

    Fields: ``gt_label``, (B,), long; ``sample_idx``, (B,), long, which images
    of the data set these are; may be missing. Meta fields: ``img_shape``,
    (height, width) in pixels, the same for all; ``num_classes``.

    Example:
        >>> import torch
        >>> batch = LabelBatch(metainfo=dict(num_classes=100))
        >>> batch.set_gt_label(torch.tensor([7, 1, 7])).num_images
        3
    """

    @property
    def num_images(self) -> int:
        """Return the number of images, 0 before it has labels."""
        labels = self.get('gt_label')
        return 0 if labels is None else len(labels)

    def __len__(self) -> int:
        return self.num_images

    def __bool__(self) -> bool:
        # As of every data sample, also of one without images.
        return True

    def set_field(
        self,
        value: Any,
        name: str,
        dtype: Any = None,
        field_type: str = 'data',
    ) -> None:
        """Set a field.

        Raises:
            ConfigError: It is one that every image has to have of its own,
                or the labels are no vector.
        """
        if name in _ONE_EACH:
            _refuse(name)
        if name == 'gt_label' and getattr(value, 'ndim', None) != 1:
            raise ConfigError(
                'the labels of a batch are a vector, one for each image',
                where='LabelBatch.gt_label',
                got=getattr(value, 'shape', value),
                allowed='a tensor of shape (B,), long',
            )
        super().set_field(value, name, dtype, field_type)

    def set_gt_score(self, value: Any) -> NoReturn:
        """Refuse: scores are kept for each image."""
        _refuse('gt_score')

    def set_pred_score(self, value: Any) -> NoReturn:
        """Refuse: mmpretrain would keep the first image's alone."""
        _refuse('pred_score')

    def set_pred_label(self, value: Any) -> NoReturn:
        """Refuse, likewise."""
        _refuse('pred_label')


def num_images(sample: Any) -> int:
    """Return how many images a data sample stands for.

    Args:
        sample: A ``LabelBatch``, or any sample of one image.
    """
    return sample.num_images if isinstance(sample, LabelBatch) else 1


def _refuse(name: str) -> NoReturn:
    raise ConfigError(
        f'{_ONE_EACH[name]} need a data sample for each image, and this one '
        f'stands for a whole batch: it has no {name}',
        where='train_dataloader.dataset.batched',
        got=True,
        allowed='gt_label alone, in training',
        fix='set batched=False; the test split always gives one for each',
    )
