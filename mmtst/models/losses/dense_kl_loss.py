"""Distil dense class predictions by the Kullback-Leibler divergence."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mmtst.models.losses.levels import (
    Levels,
    full_precision,
    paired_levels,
    rows_of,
)
from mmtst.registry import MODELS
from mmtst.utils.checks import check_choice, check_number
from mmtst.utils.errors import ConfigError

_FORMS = ('softmax', 'per_anchor_softmax', 'sigmoid')


@MODELS.register_module()
class DenseKLLoss(nn.Module):
    r"""Compute ``tau^2 * KL(teacher || student)``, a mean over positions.

    The loss of TST's Stage III (Eq. 1) on maps: positions are averaged,
    levels summed.

    Args:
        tau: Temperature, over 0.
        loss_weight: Factor of the result.
        form: What is one distribution.

            - ``'softmax'``: all channels of a position. For a head with A
              anchors and K classes this is one distribution over A * K
              entries, which is what the published numbers used.
            - ``'per_anchor_softmax'``: the K classes of each anchor; a mean
              over positions and anchors.
            - ``'sigmoid'``: each channel by itself, present or absent; summed
              over channels, a mean over positions.
        num_classes: K, for ``'per_anchor_softmax'``.
        resize: Whether the teacher's maps are resized, bilinearly, to the
            student's where their strides differ; an error otherwise.

    A single channel has no softmax; it is taken as ``'sigmoid'``.

    Raises:
        ConfigError: An option is out of range.

    Example:
        >>> import torch
        >>> loss = DenseKLLoss()
        >>> logits = torch.randn(2, 6, 4, 4)
        >>> float(loss(logits, logits))
        0.0
    """

    def __init__(
        self,
        tau: float = 1.0,
        loss_weight: float = 1.0,
        form: str = 'softmax',
        num_classes: int | None = None,
        resize: bool = False,
    ) -> None:
        super().__init__()
        check_choice('distill_losses.*.form', form, _FORMS)
        check_number('distill_losses.*.tau', tau, above=0)
        check_number('distill_losses.*.loss_weight', loss_weight, least=0)
        check_number(
            'distill_losses.*.num_classes',
            num_classes,
            least=1,
            whole=True,
            optional=True,
        )
        if (form == 'per_anchor_softmax') != (num_classes is not None):
            raise ConfigError(
                'num_classes belongs to form="per_anchor_softmax", and to '
                'it alone',
                where='distill_losses.*.num_classes',
                got=num_classes,
                fix='give the class count of the head, or drop it',
            )
        self.tau = tau
        self.loss_weight = loss_weight
        self.form = form
        self.num_classes = num_classes
        self.resize = resize

    def forward(self, preds_S: Levels, preds_T: Levels) -> Tensor:
        """Compute the loss.

        Args:
            preds_S: Student logits, (B, C, H, W) or (N, C), or one such for
                each level.
            preds_T: Teacher logits, the same shapes (but for heights and
                widths under ``resize``); detached here.

        Returns:
            A scalar.

        Raises:
            ValueError: Levels or shapes differ, or C is no multiple of
                ``num_classes``.
        """
        pairs = paired_levels(
            preds_S, preds_T, type(self).__name__, resize=self.resize
        )
        total = sum((self._level(s, t) for s, t in pairs), start=0.0)
        return self.loss_weight * self.tau**2 * total  # type: ignore[return-value]

    def _level(self, student: Tensor, teacher: Tensor) -> Tensor:
        student, teacher = full_precision(student), full_precision(teacher)
        student, teacher = self._rows(student), self._rows(teacher)
        student, teacher = student / self.tau, teacher / self.tau
        rows = max(len(student), 1)
        if self.form == 'sigmoid' or student.shape[1] == 1:
            on, off = F.logsigmoid(student), F.logsigmoid(-student)
            t_on, t_off = F.logsigmoid(teacher), F.logsigmoid(-teacher)
            divergence = t_on.exp() * (t_on - on) + t_off.exp() * (t_off - off)
            return divergence.sum() / rows
        log_student = F.log_softmax(student, dim=1)
        log_teacher = F.log_softmax(teacher, dim=1)
        divergence = F.kl_div(
            log_student, log_teacher, reduction='sum', log_target=True
        )
        return divergence / rows

    def _rows(self, logits: Tensor) -> Tensor:
        """Flatten to (rows, entries of one distribution)."""
        logits = rows_of(logits)
        if self.num_classes is None:
            return logits
        if logits.shape[1] % self.num_classes:
            raise ValueError(
                f'DenseKLLoss: {logits.shape[1]} channels are no multiple of '
                f'num_classes={self.num_classes}'
            )
        return logits.reshape(-1, self.num_classes)
