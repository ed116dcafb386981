"""Name what a search needs, what it is told and what it leaves."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from torch import Tensor

from mmtst.augmentation.base import AugmentDraw, Policy
from mmtst.augmentation.gates import GateForm, application_rate
from mmtst.models.objectives.gap_result import PARTS, GapResult

if TYPE_CHECKING:
    from mmtst.augmentation.object_guard import GuardStats

__all__ = [
    'GUARD',
    'PARTS',
    'SHARES',
    'SearchModel',
    'SearchOptions',
    'SearchSummary',
]

SHARES = ('gap_rate', 'teacher_right', 'student_wrong')
GUARD = ('objects_kept', 'visible_area', 'box_scale', 'redraws', 'shrunk')


class SearchModel(Protocol):
    """List what a search asks of a model; ``TSTDistill`` has it."""

    augmentation: Any

    def search_mode(self) -> AbstractContextManager[Any]:
        """Freeze student and teacher, statistics included, meanwhile."""

    def prepare_search_batch(
        self, data: dict[str, Any]
    ) -> tuple[Tensor, list[Any]]:
        """Preprocess a batch and leave out images without objects."""

    def draw_views(
        self,
        inputs: Tensor,
        data_samples: list[Any],
        policy: Policy,
        generator: torch.Generator,
    ) -> tuple[AugmentDraw, GuardStats]:
        """Draw an augmentation that keeps the objects."""

    def search_objective(
        self,
        inputs: Tensor,
        data_samples: list[Any],
        policy: Policy,
        draw: AugmentDraw | None,
    ) -> GapResult | None:
        """Evaluate the objective, with a graph to the policy.

        ``draw=None`` evaluates the originals; ``None`` comes back where the
        draw has left no object.
        """


@dataclass(frozen=True)
class SearchOptions:
    """Hold the numbers of one search.

    Attributes:
        iterations: Steps.
        steps_per_epoch: Steps that pass over the data once.
        lr: Learning rate of SGD on ``th_p`` and ``th_m``.
        momentum: Of SGD.
        clip_grad: Largest norm of the gradient of all 25 parameters
            together; ``None`` does not clip.
        budget: Mean rate of application to hold, ``'hold'`` for what it is
            at the start, ``None`` to leave it free.
        temperature: Of the gates during the search; ``None`` for the
            encoder's own.
        max_nonfinite: The search stops at this many objectives or gradients
            that are not finite.
        log_interval: Steps between log lines.
        alrs: (threshold, factor) of the rule that lowers the learning rate
            between epochs of the search, or ``None``.
        loss_scale: First factor on the objective before the backward pass,
            over 1 under fp16 only; halved whenever gradients overflow.
    """

    iterations: int
    steps_per_epoch: int
    lr: float
    momentum: float = 0.9
    clip_grad: float | None = 20.0
    budget: float | Literal['hold'] | None = None
    temperature: float | None = None
    max_nonfinite: int = 3
    log_interval: int = 10
    alrs: tuple[float, float] | None = None
    loss_scale: float = 1.0


@dataclass(frozen=True)
class SearchSummary:
    """Hold what a search did, for its report.

    Attributes:
        start: The policy before.
        end: The policy after.
        iterations: Steps asked for.
        updates: Steps that changed the policy.
        empty: Steps in which no rank had an object left.
        nonfinite: Steps lost to an objective that was not finite.
        overflows: Steps lost to overflow under fp16.
        gradients: (updates, 25), float64, the gradients averaged over ranks,
            before clipping; ``th_p`` first.
        lr: The last learning rate.
        seconds: Wall time.
        form: Of the gates.
    """

    start: Policy
    end: Policy
    iterations: int
    updates: int
    empty: int
    nonfinite: int
    overflows: int
    gradients: Tensor
    lr: float
    seconds: float
    form: GateForm = 'logit'

    @property
    def largest_move(self) -> float:
        """Return the largest change of a rate of application, in [0, 1]."""
        change = application_rate(self.end.th_p, self.form) - application_rate(
            self.start.th_p, self.form
        )
        return float(change.abs().max())
