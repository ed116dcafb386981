"""State what Stage II minimizes: the gap between teacher and student."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmtst.models.objectives.gap_result import (
    PARTS,
    WEIGHTED_PARTS,
    GapResult,
)
from mmtst.models.objectives.interception import LossInterceptor, Mode
from mmtst.models.objectives.inversion import (
    HOW_TO_REGISTER,
    InversionOptions,
    bounded_negative,
    resolve_losses,
)
from mmtst.models.objectives.positives import (
    right_positives,
    same_positives,
    share,
)
from mmtst.models.objectives.roi_losses import check_two_stage, roi_losses
from mmtst.models.objectives.task_losses import task_losses
from mmtst.registry import MODELS
from mmtst.utils.checks import Bounds, check_choice, check_flag, check_number
from mmtst.utils.errors import ConfigError

WHERE = 'model.objective'


@MODELS.register_module()
class GapObjective(nn.Module):
    """Measure how well a teacher and how badly a student does on images.

    ``alpha L_T + beta L~_S`` (Eq. 2 of TST): the teacher's task loss plus the
    student's task loss inverted, loss by loss. It is low where the teacher
    is right and the student wrong.

    Call it inside ``frozen_statistics`` and ``frozen_parameters`` of both
    models: both are run for their losses and would otherwise move their
    running statistics. Leave out images without objects beforehand: they
    give the minimum of both terms.

    Args:
        alpha: Weight of the teacher's side.
        beta: Weight of the student's side.
        weights: Weights of the parts ``T_cls``, ``T_box``, ``S_cls`` and
            ``S_box``; those not given are 1.
        box_scale: ``s`` of the inverted box losses ``-s (1 - exp(-L / s))``.
        mode: ``default``, or ``official``: the reference code's inverted
            losses, background included and boxes unbounded.
        on_escape: What to do with student losses that no registered module
            computes: ``error``, or ``bounded_negative`` of their sum, which
            is not per positive and so favors images with fewer objects.
        right_score: The score from which on a positive counts as right,
            where classes are scored independently (sigmoid), in [0, 1].
        teacher_roi_losses: ``False`` leaves a two-stage teacher's RoI head
            out, as the reference code does (``official`` alone does not): its
            loss and its positives are then the RPN's.
        average: What losses on label maps are divided by. ``valid``: by the
            pixels that have a label (or their class weights), for the
            student's inverted losses and the teacher's losses alike.
            ``loss``: as the loss itself divides. mmseg's cross entropy
            divides by all pixels, so that warping content out of view then
            lowers both sides, and the search empties images. In mode
            ``official`` the reference code's average is used.

    Raises:
        ConfigError: If an option cannot be used.
    """

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 1.0,
        weights: Mapping[str, float] | None = None,
        box_scale: float = 1.0,
        mode: str = 'default',
        on_escape: str = 'error',
        right_score: float = 0.3,
        teacher_roi_losses: bool = True,
        average: str = 'valid',
    ) -> None:
        super().__init__()
        weights = dict(weights or {})
        for name in weights:
            check_choice(f'{WHERE}.weights', name, WEIGHTED_PARTS)
        for name, value, bounds in (
            ('alpha', alpha, Bounds(least=0)),
            ('beta', beta, Bounds(least=0)),
            ('box_scale', box_scale, Bounds(above=0)),
            ('right_score', right_score, Bounds(least=0, most=1)),
            *(
                (f'weights.{name}', value, Bounds(least=0))
                for name, value in weights.items()
            ),
        ):
            check_number(f'{WHERE}.{name}', value, **bounds)
        check_flag(f'{WHERE}.teacher_roi_losses', teacher_roi_losses)
        check_choice(f'{WHERE}.mode', mode, ('default', 'official'))
        check_choice(
            f'{WHERE}.on_escape', on_escape, ('error', 'bounded_negative')
        )
        check_choice(f'{WHERE}.average', average, ('valid', 'loss'))
        by_pixels = average == 'valid' and mode == 'default'
        self.alpha = float(alpha)
        self.beta = float(beta)
        self.weights = {
            name: float(weights.get(name, 1.0)) for name in WEIGHTED_PARTS
        }
        self.options = InversionOptions(
            box_scale=float(box_scale),
            average='valid' if by_pixels else 'loss',
        )
        self.mode = mode
        self.on_escape = on_escape
        self.right_score = float(right_score)
        self.teacher_roi_losses = teacher_roi_losses

    def check(
        self, student: nn.Module, teacher: nn.Module | None = None
    ) -> None:
        """Refuse models that the options do not fit.

        To be called when the models are built. Losses that a head computes
        without a module only show in the first ``forward``.

        Raises:
            ConfigError: If a loss module of the student has no inversion and
                ``on_escape`` is ``error``; if a teacher without RoI losses is
                to leave them out.
        """
        if self.on_escape == 'error':
            resolve_losses(student, self.mode)
        if teacher is not None and not self.teacher_roi_losses:
            check_two_stage(teacher)

    def forward(
        self,
        teacher: nn.Module,
        student: nn.Module,
        inputs: Tensor,
        data_samples: Sequence[Any],
        teacher_inputs: Tensor | None = None,
    ) -> GapResult:
        """Compute the objective of one batch.

        Works where gradients are disabled too (heads are then still run with
        gradients enabled, and the result is detached).

        Args:
            teacher: Called as ``teacher(inputs, data_samples, mode='loss')``.
            student: Called likewise.
            inputs: (B, C, H, W), preprocessed images.
            data_samples: B data samples with ground truth.
            teacher_inputs: The same images normalized for the teacher;
                ``None`` where it expects them as the student does.

        Raises:
            ConfigError: If a loss of the student escapes.
        """
        wants_graph = torch.is_grad_enabled()
        with torch.enable_grad():
            live = {name: inputs.flatten()[:0].sum() for name in PARTS}
            seen = inputs if teacher_inputs is None else teacher_inputs
            watched = self._teacher_parts(teacher, seen, data_samples, live)
            caught = self._student_parts(student, inputs, data_samples, live)
            for name, weight in self.weights.items():
                live[name] = weight * live[name]
            total = self.alpha * (
                live['T_cls'] + live['T_box'] + live['T_other']
            ) + self.beta * (live['S_cls'] + live['S_box'] + live['S_other'])
        if not wants_graph:
            total = total.detach()
            live = {name: part.detach() for name, part in live.items()}
        teacher_right = right_positives(watched, self.right_score)
        student_right = right_positives(caught, self.right_score)
        gap = None
        if len(student_right) and same_positives(watched, caught):
            gap = float((teacher_right & ~student_right).float().mean())
        return GapResult(
            total=total,
            parts={name: part.detach() for name, part in live.items()},
            positives=len(student_right),
            teacher_right=share(teacher_right),
            student_wrong=share(~student_right),
            gap_rate=gap,
            _live=live,
        )

    def _teacher_parts(
        self,
        teacher: nn.Module,
        inputs: Tensor,
        data_samples: Sequence[Any],
        live: dict[str, Tensor],
    ) -> LossInterceptor:
        """Run the teacher and put its parts into ``live``."""
        with (
            roi_losses(teacher, self.teacher_roi_losses),
            LossInterceptor(teacher, 'watch', self.options) as watched,
        ):
            losses = task_losses(teacher(inputs, data_samples, mode='loss'))
        total = sum(losses.values(), live['T_other'])
        live['T_other'] = total
        for kind, part in watched.parts_of(total).items():
            if part is not None:
                live[f'T_{kind}'] = part
                live['T_other'] = live['T_other'] - part
        return watched

    def _student_parts(
        self,
        student: nn.Module,
        inputs: Tensor,
        data_samples: Sequence[Any],
        live: dict[str, Tensor],
    ) -> LossInterceptor:
        """Run the student and put its inverted parts into ``live``."""
        mode: Mode = 'official' if self.mode == 'official' else 'invert'
        with LossInterceptor(student, mode, self.options) as caught:
            losses = task_losses(student(inputs, data_samples, mode='loss'))
        escaped = caught.escaped(losses)
        if escaped and self.on_escape == 'error':
            raise _escape_error(student, caught, escaped)
        if escaped:
            live['S_other'] = bounded_negative(
                sum(escaped.values(), live['S_other']), self.options.box_scale
            )
        if mode == 'official':
            parts = caught.parts_of(sum(losses.values(), live['S_cls']))
        else:
            parts = caught.inverted_losses()
        for kind, part in parts.items():
            if part is not None:
                live[f'S_{kind}'] = part
        # A diverged student makes an objective that is not finite, which the
        # search knows what to do with.
        for value in losses.values():
            if not bool(torch.isfinite(value)):
                live['S_other'] = live['S_other'] + value
        return caught


def _escape_error(
    student: nn.Module,
    caught: LossInterceptor,
    escaped: Mapping[str, Tensor],
) -> ConfigError:
    """Name the losses that escaped and where they may come from."""
    sources = dict.fromkeys(
        f'student.{path} ({name})' for path, name in caught.strangers
    )
    if not sources:
        heads = dict.fromkeys(
            f'student.{path} ({type(module).__name__})'
            for path, module in student.named_modules()
            if hasattr(module, 'loss_by_feat')
            or type(module).__name__.endswith('Head')
        )
        sources = heads or {f'student ({type(student).__name__})': None}
    return ConfigError(
        'Some losses of the student do not come from a loss module with a '
        'registered inversion: '
        + ', '.join(f'{k} = {v.item():.4g}' for k, v in escaped.items()),
        where='; '.join(sources),
        got='a functional loss or a loss module without an inversion',
        fix=HOW_TO_REGISTER,
    )
