"""Distil features by their foreground, background and global relations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ContextBlock
from torch import Tensor, nn

from mmtst.models.losses.levels import Levels, full_precision, paired_levels
from mmtst.registry import MODELS
from mmtst.utils.checks import check_number

# Most specific first: what the batch was padded to, then an image by itself.
_SIZES = ('batch_input_shape', 'pad_shape', 'img_shape')


@MODELS.register_module()
class FGDLoss(nn.Module):
    """Compute focal and global distillation (FGD) of a detector's features.

    Yang et al., CVPR 2022, https://arxiv.org/abs/2111.11837. With F the
    features of one level, summed over cells (i, j) and channels k, and
    averaged over the images of the batch:

    .. code-block:: text

        attention    A^S_ij = H W softmax_ij(mean_k |F_kij| / tau)
                     A^C_k  = C softmax_k(mean_ij |F_kij| / tau)
        scale        S_ij = 1 / cells of the object, in an object;
                     1 / cells of the background, elsewhere
        focal        (alpha on objects, beta on background)
                     sum_kij S_ij A^S_ij A^C_k (F^T - F^S)^2, A of the teacher
        attention    gamma (sum_ij |A^S_t - A^S_s| + sum_k |A^C_t - A^C_s|)
        global       lambda sum_kij (R_t(F^T) - R_s(F^S))^2

    R is GcNet's context block, which adds a projection of the features' global
    context to every cell. Each side and level has its own, trained with the
    student; at the start all are the identity. A cell is an object's if the
    box covers a part of it; in overlaps the smaller object counts. The losses
    of the levels are summed.

    The authors' configs have, at tau 0.5 (FCOS: 0.8):

    ======================== ======= ====== ====== ======
    detectors                alpha   beta   gamma  lambda
    ======================== ======= ====== ====== ======
    anchor-based, one stage  1e-3    5e-4   5e-4   5e-6
    anchor-free, one stage   1.6e-3  8e-4   8e-4   8e-6
    two stages, 4 levels     5e-5    2.5e-5 5e-5   5e-7
    ======================== ======= ====== ====== ======

    Args:
        channels: Channels of the student's and the teacher's levels; where
            the student has others, put a ``PyramidConnector`` before.
        num_levels: How many levels are compared, from the finest; further
            ones are left out.
        tau: Temperature of the attention, over 0.
        alpha: Weight of the objects.
        beta: Weight of the background.
        gamma: Weight of the attention's difference.
        lambda_: Weight of the global relations.

    Raises:
        ConfigError: An option is out of range.
    """

    def __init__(
        self,
        channels: int = 256,
        num_levels: int = 5,
        tau: float = 0.5,
        alpha: float = 1e-3,
        beta: float = 5e-4,
        gamma: float = 5e-4,
        lambda_: float = 5e-6,
    ) -> None:
        super().__init__()
        where = 'distill_losses.*'
        check_number(f'{where}.channels', channels, least=2, whole=True)
        check_number(f'{where}.num_levels', num_levels, least=1, whole=True)
        check_number(f'{where}.tau', tau, above=0)
        weights = dict(alpha=alpha, beta=beta, gamma=gamma, lambda_=lambda_)
        for name, weight in weights.items():
            check_number(f'{where}.{name}', weight, least=0)
        self.channels = channels
        self.num_levels = num_levels
        self.tau = tau
        self.alpha = alpha
        self.beta = beta
        self.gamma = gamma
        self.lambda_ = lambda_
        self.student_relations = _relations(channels, num_levels)
        self.teacher_relations = _relations(channels, num_levels)

    def forward(
        self, preds_S: Levels, preds_T: Levels, data_samples: Sequence[Any]
    ) -> Tensor:
        """Compute the loss.

        Args:
            preds_S: Student features, (B, channels, H, W) for each level,
                from the finest.
            preds_T: The teacher's, the same shapes; detached here.
            data_samples: The B samples. ``gt_instances.bboxes`` are (N, 4)
                tensors or ``HorizontalBoxes``: x1, y1, x2, y2 in pixels of
                the network's input, whose size the metainfo has.

        Returns:
            A scalar.

        Raises:
            ValueError: Levels, shapes or the number of samples do not fit, or
                a sample has no boxes or no size.
        """
        pairs = paired_levels(
            preds_S, preds_T, 'FGDLoss', num_levels=self.num_levels
        )
        channels = sorted({student.shape[1] for student, _ in pairs})
        if channels != [self.channels]:
            raise ValueError(
                f'FGDLoss: features of {channels} channels, but '
                f'channels={self.channels}'
            )
        images = [_boxes_and_size(sample) for sample in data_samples]
        first = pairs[0][0]
        if len(images) != len(first):
            raise ValueError(
                f'FGDLoss: {len(images)} samples for {len(first)} images'
            )
        total = first.new_zeros((), dtype=torch.float32)
        with torch.autocast(first.device.type, enabled=False):
            for index, pair in enumerate(pairs):
                student, teacher = (full_precision(x) for x in pair)
                objects = torch.stack(
                    [object_weights(*image, student[0, 0]) for image in images]
                )
                total = total + self._focal(student, teacher, objects)
                total = total + self._global(index, student, teacher)
        return total / len(first)

    def _focal(
        self, student: Tensor, teacher: Tensor, objects: Tensor
    ) -> Tensor:
        """Compare features and attention, (B, C, H, W); a sum over images."""
        spatial_s, channel_s = attention(student, self.tau)
        spatial_t, channel_t = attention(teacher, self.tau)
        scale = self.alpha * objects + self.beta * background_weights(objects)
        error = (student - teacher).square() * channel_t[:, :, None, None]
        features = (error.sum(1) * spatial_t * scale).sum()
        spatial = (spatial_s - spatial_t).abs().sum()
        channel = (channel_s - channel_t).abs().sum()
        return features + self.gamma * (spatial + channel)

    def _global(self, index: int, student: Tensor, teacher: Tensor) -> Tensor:
        """Compare relations, (B, C, H, W) of a level; a sum over images."""
        relation_s = self.student_relations[index](student)
        relation_t = self.teacher_relations[index](teacher)
        error: Tensor = (relation_s - relation_t).square().sum()
        return self.lambda_ * error


def attention(features: Tensor, tau: float) -> tuple[Tensor, Tensor]:
    """Tell which cells and which channels are strong.

    Args:
        features: (B, C, H, W).
        tau: Temperature.

    Returns:
        (B, H, W) with mean 1 over cells, and (B, C) with mean 1 over channels.
    """
    strength = features.abs()
    cells, channels = strength.mean(1), strength.mean((2, 3))
    spatial = (cells.flatten(1) / tau).softmax(1).view_as(cells)
    channel = (channels / tau).softmax(1)
    return spatial * cells[0].numel(), channel * channels.shape[1]


def object_weights(
    boxes: Tensor, size: tuple[int, int], level: Tensor
) -> Tensor:
    """Weight the cells of objects by the reciprocal of their cells' number.

    Args:
        boxes: (N, 4), x1, y1, x2, y2 in pixels of the network's input; parts
            outside of it do not count.
        size: (height, width) of that input, padding included, in pixels.
        level: A tensor (H, W) that gives size, type and device of the level.

    Returns:
        (H, W); 0 on the background, and the largest weight in overlaps, which
        is the smallest object's.
    """
    height, width = level.shape
    if not len(boxes):
        return torch.zeros_like(level)
    strides = [_stride(size[1], width), _stride(size[0], height)]
    edges = boxes.to(level) / level.new_tensor(strides * 2)
    low = edges[:, :2].floor()
    high = torch.maximum(edges[:, 2:].ceil(), low + 1)
    x = torch.arange(width, device=level.device)
    y = torch.arange(height, device=level.device)
    columns = (low[:, :1] <= x) & (x < high[:, :1])
    rows = (low[:, 1:] <= y) & (y < high[:, 1:])
    cells = (columns.sum(1) * rows.sum(1)).clamp(min=1)
    inside = rows[:, :, None] & columns[:, None]
    return (inside.to(level) / cells[:, None, None]).amax(0)


def _stride(side: int, cells: int) -> int:
    """Return the side of a cell in pixels, a power of two.

    The last row and column of a level may stick out of the input.
    """
    return 1 << math.ceil(math.log2(side / cells))


def background_weights(objects: Tensor) -> Tensor:
    """Weight the cells outside of objects by the reciprocal of their number.

    Args:
        objects: (B, H, W), from :func:`object_weights`.

    Returns:
        (B, H, W), summing to 1 for each image with background.
    """
    outside = (objects == 0).to(objects)
    return outside / outside.sum((1, 2), keepdim=True).clamp(min=1)


def _relations(channels: int, num_levels: int) -> nn.ModuleList:
    """Build a context block for each level; its last layer starts at zero."""
    return nn.ModuleList(
        ContextBlock(channels, ratio=0.5) for _ in range(num_levels)
    )


def _boxes_and_size(sample: Any) -> tuple[Tensor, tuple[int, int]]:
    """Read (N, 4) boxes and the (height, width) of the network's input."""
    boxes = getattr(sample, 'gt_instances', {}).get('bboxes')
    boxes = getattr(boxes, 'tensor', boxes)
    if boxes is None:
        raise ValueError(
            'FGDLoss: a sample has no gt_instances.bboxes; the loss is one '
            'for detectors'
        )
    known = [sample.metainfo[key] for key in _SIZES if key in sample.metainfo]
    if not known:
        raise ValueError(
            f'FGDLoss: a sample has no size; one of {", ".join(_SIZES)} must '
            'be in its metainfo'
        )
    height, width = known[0][:2]
    return boxes, (height, width)
