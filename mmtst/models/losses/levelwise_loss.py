"""Apply a loss on one tensor to the levels of a pyramid."""

from __future__ import annotations

from typing import Any

from mmrazor.models.losses import PKDLoss
from torch import Tensor, nn

from mmtst.models.losses.levels import (
    Levels,
    full_precision,
    paired_levels,
    rows_of,
)
from mmtst.registry import MODELS
from mmtst.utils.checks import check_choice, check_number

_FORMS = ('map', 'rows')


@MODELS.register_module()
class LevelwiseLoss(nn.Module):
    """Compute ``sum_l loss(student_l, teacher_l)`` with a loss of mmrazor.

    mmrazor's losses take one tensor of each side, so that its own configs
    repeat loss and mapping for every level. Those on logits, moreover, expect
    (N, C): on a map (B, C, H, W) its ``KLDivergence`` is H * W times the mean
    over positions, and its ``DISTLoss`` relates the images of the batch alone,
    position by position. Here the levels stand in one entry, and maps are
    flattened on request. Half precision is computed in float32.

    PKD correlates the values of a channel over the batch. One image with a
    level of 1 x 1 has one value, which correlates with nothing: such a level
    adds 0, where mmrazor's ``PKDLoss`` gives NaN.

    Args:
        loss: Config of a loss whose ``forward`` takes the student's and the
            teacher's tensor, in this order, and gives a scalar; for example
            ``dict(type='mmrazor.DISTLoss')``. Its weight is for each level.
        form: What it takes of a level.

            - ``'map'``: features as they are, (B, C, H, W).
            - ``'rows'``: logits, one row for each position, (B * H * W, C);
              all C channels are one distribution.
        num_levels: How many levels are compared, from the finest; further
            ones are left out. All by default.
        resize: Whether the teacher's maps are resized, bilinearly, to the
            student's where their strides differ; an error otherwise.

    Raises:
        ConfigError: An option is out of range.

    Example:
        >>> import torch, mmtst
        >>> loss = LevelwiseLoss(dict(type='mmrazor.MGDLoss', alpha_mgd=1.0))
        >>> ones, zeros = torch.ones(1, 2, 2, 2), torch.zeros(1, 2, 2, 2)
        >>> float(loss([ones, ones], [zeros, zeros]))
        16.0
    """

    def __init__(
        self,
        loss: dict[str, Any],
        form: str = 'map',
        num_levels: int | None = None,
        resize: bool = False,
    ) -> None:
        super().__init__()
        where = 'distill_losses.*'
        check_choice(f'{where}.form', form, _FORMS)
        check_number(
            f'{where}.num_levels',
            num_levels,
            least=1,
            whole=True,
            optional=True,
        )
        self.loss = MODELS.build_checked(loss, f'{where}.loss')
        self.form = form
        self.num_levels = num_levels
        self.resize = resize

    def forward(self, preds_S: Levels, preds_T: Levels) -> Tensor:
        """Compute the loss.

        Args:
            preds_S: Student features or logits, (B, C, H, W) or (N, C), or
                one such for each level.
            preds_T: The teacher's, the same shapes; detached here.

        Returns:
            A scalar; an empty level adds 0, and so does under PKD one with a
            single value for each channel.

        Raises:
            ValueError: Levels or shapes differ, or there are too few levels.
        """
        pairs = paired_levels(
            preds_S,
            preds_T,
            type(self.loss).__name__,
            num_levels=self.num_levels,
            resize=self.resize,
        )
        total = sum((self._level(s, t) for s, t in pairs), start=0.0)
        return total  # type: ignore[return-value]

    def _level(self, student: Tensor, teacher: Tensor) -> Tensor:
        student, teacher = full_precision(student), full_precision(teacher)
        if not student.numel():  # A mean over nothing is no number.
            return student.sum()
        if isinstance(self.loss, PKDLoss) and student[:, 0].numel() == 1:
            return 0 * student.sum()
        if self.form == 'rows':
            student, teacher = rows_of(student), rows_of(teacher)
        # Some of mmrazor's losses take views, which channels-last has not.
        value: Tensor = self.loss(student.contiguous(), teacher.contiguous())
        return value
