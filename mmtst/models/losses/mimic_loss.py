"""Let student features mimic the teacher's by mean squared error."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mmtst.models.losses.levels import (
    Levels,
    full_precision,
    paired_levels,
)
from mmtst.registry import MODELS
from mmtst.utils.checks import check_number


@MODELS.register_module()
class MimicLoss(nn.Module):
    """Compute the mean squared error of each level, summed over levels.

    The "mimic" term of TST's detection experiments, as in DIST.

    Args:
        loss_weight: Factor of the result.

    Raises:
        ConfigError: The factor is negative.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        check_number('distill_losses.*.loss_weight', loss_weight, least=0)
        self.loss_weight = loss_weight

    def forward(self, preds_S: Levels, preds_T: Levels) -> Tensor:
        """Compute the loss.

        Args:
            preds_S: Student features, (B, C, H, W), or one for each level.
            preds_T: Teacher features, the same shapes; detached here.

        Returns:
            A scalar.

        Raises:
            ValueError: Levels or shapes differ.
        """
        pairs = paired_levels(preds_S, preds_T, type(self).__name__)
        total = sum(
            (
                F.mse_loss(full_precision(s), full_precision(t))
                for s, t in pairs
            ),
            start=0.0,
        )
        return self.loss_weight * total  # type: ignore[return-value]
