"""Distil where a classifier looks, stage by stage."""

from __future__ import annotations

import torch.nn.functional as F
from mmrazor.models.losses import ATLoss
from torch import Tensor

from mmtst.models.losses.levels import (
    Levels,
    full_precision,
    paired_levels,
)
from mmtst.registry import MODELS
from mmtst.utils.checks import check_number


@MODELS.register_module()
class AttentionTransferLoss(ATLoss):  # type: ignore[misc]
    """Compute attention transfer (AT), summed over stages.

    Zagoruyko and Komodakis, ICLR 2017, https://arxiv.org/abs/1612.03928. With
    F the features of one stage and image:

    .. code-block:: text

        A_ij = mean_k F_kij^2,   a = A / |A|_2, over the cells ij
        loss = mean over images and cells of (a_student - a_teacher)^2

    mmrazor's ``ATLoss`` for one stage, whose value is kept. What differs:
    all stages come in one entry, their widths may differ, and the larger of
    two maps is averaged down to the smaller, as in the tables of CRD.

    Args:
        loss_weight: Factor of the result; 1000 in those tables.
        num_levels: How many stages are compared, from the finest; further
            ones are left out. All by default.

    Raises:
        ConfigError: ``num_levels`` is no count, or the factor negative.

    Example:
        >>> import torch
        >>> loss = AttentionTransferLoss(loss_weight=1.0)
        >>> student = torch.tensor([[[[1.0, 0.0]]]])
        >>> float(loss([student], [3 * student]))
        0.0
    """

    def __init__(
        self, loss_weight: float = 1000.0, num_levels: int | None = None
    ) -> None:
        super().__init__(loss_weight)
        check_number('distill_losses.*.loss_weight', loss_weight, least=0)
        check_number(
            'distill_losses.*.num_levels',
            num_levels,
            least=1,
            whole=True,
            optional=True,
        )
        self.num_levels = num_levels

    def forward(self, preds_S: Levels, preds_T: Levels) -> Tensor:
        """Compute the loss.

        Args:
            preds_S: Student features, (B, C, H, W), or one for each stage,
                from the finest.
            preds_T: The teacher's, of any width, height and width; detached
                here.

        Returns:
            A scalar.

        Raises:
            ValueError: The numbers of stages or of images differ, or a side
                has less than ``num_levels``.
        """
        students = [preds_S] if isinstance(preds_S, Tensor) else list(preds_S)
        teachers = [preds_T] if isinstance(preds_T, Tensor) else list(preds_T)
        sizes = [
            (min(s.shape[2], t.shape[2]), min(s.shape[3], t.shape[3]))
            for s, t in zip(students, teachers, strict=False)
        ]
        pairs = paired_levels(
            _averaged(students, sizes),
            _averaged(teachers, sizes),
            type(self).__name__,
            same_channels=False,
            num_levels=self.num_levels,
        )
        stage = super().forward
        total = sum(
            (stage(full_precision(s), full_precision(t)) for s, t in pairs),
            start=0.0,
        )
        return total  # type: ignore[return-value]


def _averaged(
    maps: list[Tensor], sizes: list[tuple[int, int]]
) -> list[Tensor]:
    """Average maps down to sizes; those without one stay as they are."""
    smaller = [
        features
        if tuple(features.shape[2:]) == size
        else F.adaptive_avg_pool2d(full_precision(features), size)
        for features, size in zip(maps, sizes, strict=False)
    ]
    return smaller + maps[len(sizes) :]
