"""Compare reviewed features with a teacher's, over a pyramid of averages."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmtst.models.losses.levels import (
    Levels,
    full_precision,
    paired_levels,
)
from mmtst.registry import MODELS
from mmtst.utils.checks import check_flag, check_number


@MODELS.register_module()
class ReviewKDLoss(nn.Module):
    """Compute the hierarchical context loss (HCL) of ReviewKD, over levels.

    Chen et al., CVPR 2021, https://arxiv.org/abs/2104.09044, section 3.4.
    One level is compared as it is and averaged down to 4 x 4, 2 x 2 and
    1 x 1 cells, so that what it says as a whole counts beside its details:

    .. code-block:: text

        HCL(S, T) = sum_i w_i mean((pool_i(S) - pool_i(T))^2) / sum_i w_i
        w = 1, 1/2, 1/4, 1/8

    Sizes that are not smaller than the map are left out, and the weights go
    to those that remain, in order: a map of 4 x 4 has 1, 1/2, 1/4 at 4, 2, 1;
    one of 1 x 1 is compared as it is. The student's side is what a
    ``ReviewKDConnector`` makes of its stages.

    Args:
        loss_weight: Factor of the result. The authors' scripts for CIFAR-100
            have 0.6 to 8, by the pair.
        num_levels: How many of the teacher's maps are compared, from the
            finest; further ones are left out. All by default.
        pooled: Whether the average of the teacher's last map is one more
            level, 1 x 1, as it is in the authors' classifiers. The
            connector has to say the same.

    Raises:
        ConfigError: An option is out of range.

    Example:
        >>> import torch
        >>> loss = ReviewKDLoss(pooled=False)
        >>> ones, zeros = torch.ones(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)
        >>> float(loss([ones], [zeros]))
        1.0
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        num_levels: int | None = None,
        pooled: bool = True,
    ) -> None:
        super().__init__()
        where = 'distill_losses.*'
        check_number(
            f'{where}.num_levels',
            num_levels,
            least=1,
            whole=True,
            optional=True,
        )
        check_flag(f'{where}.pooled', pooled)
        check_number(f'{where}.loss_weight', loss_weight, least=0)
        self.loss_weight = loss_weight
        self.num_levels = num_levels
        self.pooled = pooled

    def forward(self, preds_S: Levels, preds_T: Levels) -> Tensor:
        """Compute the loss.

        Args:
            preds_S: Student features from the connector, (B, C, H, W) for
                each level, from the finest, the pooled level included.
            preds_T: Maps of the teacher's stages, (B, C, H, W), without it;
                detached here.

        Returns:
            A scalar.

        Raises:
            ValueError: Levels or shapes differ.
        """
        teachers = [preds_T] if isinstance(preds_T, Tensor) else list(preds_T)
        levels = teachers[: self.num_levels]
        if self.pooled:
            average = F.adaptive_avg_pool2d(full_precision(teachers[-1]), 1)
            levels = [*levels, average]
        pairs = paired_levels(preds_S, levels, type(self).__name__)
        total = sum((hierarchical_context(s, t) for s, t in pairs), start=0.0)
        return self.loss_weight * total  # type: ignore[return-value]


def hierarchical_context(student: Tensor, teacher: Tensor) -> Tensor:
    """Compare two maps at several sizes.

    Args:
        student: (B, C, H, W).
        teacher: The same shape.

    Returns:
        A scalar, the weighted mean of the squared errors.
    """
    student, teacher = full_precision(student), full_precision(teacher)
    height, width = student.shape[-2:]
    sizes = [size for size in (4, 2, 1) if size < min(height, width)]
    errors = [F.mse_loss(student, teacher)]
    for size in sizes:
        errors.append(
            F.mse_loss(
                F.adaptive_avg_pool2d(student, size),
                F.adaptive_avg_pool2d(teacher, size),
            )
        )
    weights = [0.5**i for i in range(len(errors))]
    weighted = [w * e for w, e in zip(weights, errors, strict=True)]
    return torch.stack(weighted).sum() / sum(weights)
