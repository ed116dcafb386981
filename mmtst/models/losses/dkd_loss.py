"""Distil what a teacher says of the target and of the other classes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmtst.models.losses.levels import full_precision
from mmtst.registry import MODELS
from mmtst.utils.checks import check_number


@MODELS.register_module()
class DKDLoss(nn.Module):
    """Compute decoupled knowledge distillation (DKD), a mean over images.

    Zhao et al., CVPR 2022, https://arxiv.org/abs/2203.08679, Eq. 7: with b
    the two probabilities of the target and of all others together, and p
    those of the others among themselves, at temperature tau,

    .. code-block:: text

        loss = tau^2 (alpha KL(b^T, b^S) + beta KL(p^T, p^S))

    mmrazor's ``DKDLoss`` is not used: it takes the logarithm of a
    probability, which is minus infinity, and its gradient NaN, where a
    target's logit is some 100 tau below the largest. Here logarithms are
    never left. Otherwise the two are the same.

    Args:
        tau: Temperature, over 0.
        alpha: Weight of the target's part.
        beta: Weight of the others' part; 8 in the paper where the teacher is
            most confident.
        loss_weight: Factor of the result.

    Raises:
        ConfigError: An option is out of range.

    Example:
        >>> import torch
        >>> loss = DKDLoss()
        >>> logits, labels = torch.randn(4, 10), torch.arange(4)
        >>> float(loss(logits, logits, labels))
        0.0
    """

    def __init__(
        self,
        tau: float = 4.0,
        alpha: float = 1.0,
        beta: float = 8.0,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        where = 'distill_losses.*'
        check_number(f'{where}.tau', tau, above=0)
        weights = dict(alpha=alpha, beta=beta, loss_weight=loss_weight)
        for name, weight in weights.items():
            check_number(f'{where}.{name}', weight, least=0)
        self.tau = tau
        self.alpha = alpha
        self.beta = beta
        self.loss_weight = loss_weight

    def forward(
        self, preds_S: Tensor, preds_T: Tensor, gt_labels: Tensor
    ) -> Tensor:
        """Compute the loss.

        Args:
            preds_S: Student logits, (N, C), C from 2.
            preds_T: The teacher's; detached here.
            gt_labels: (N,), the classes.

        Returns:
            A scalar.
        """
        of_target = F.one_hot(gt_labels.flatten(), preds_S.shape[1]).bool()
        student, teacher = (
            _divided(full_precision(logits) / self.tau, of_target)
            for logits in (preds_S, preds_T.detach())
        )
        parts = [
            F.kl_div(s, t, reduction='batchmean', log_target=True)
            for s, t in zip(student, teacher, strict=True)
        ]
        total = self.alpha * parts[0] + self.beta * parts[1]
        result: Tensor = self.loss_weight * self.tau**2 * total
        return result


def _divided(logits: Tensor, of_target: Tensor) -> tuple[Tensor, Tensor]:
    """Return log b, (N, 2), and log p, (N, C - 1)."""
    rows = len(logits)
    target = logits[of_target].view(rows, 1)
    others = logits[~of_target].view(rows, -1)
    together = torch.cat([target, others.logsumexp(1, keepdim=True)], dim=1)
    return together.log_softmax(1), others.log_softmax(1)
