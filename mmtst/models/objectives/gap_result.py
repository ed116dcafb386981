"""Hold what the objective of Stage II comes to on a batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

WEIGHTED_PARTS = ('T_cls', 'T_box', 'S_cls', 'S_box')
PARTS = ('T_cls', 'T_box', 'T_other', 'S_cls', 'S_box', 'S_other')


@dataclass(frozen=True)
class GapResult:
    """Hold the objective of one batch.

    Attributes:
        total: Scalar with graph (without, if gradients were disabled):
            ``alpha (T_cls + T_box + T_other) + beta (S_cls + S_box +
            S_other)``.
        parts: Detached scalars by the names in ``PARTS``, after ``weights``
            and before alpha and beta. ``T_other`` holds the teacher's losses
            from unregistered modules, ``S_other`` the bounded negative of
            the student's, where that is allowed; otherwise they are zero.
        positives: Number of the student's positives (anchors, points or
            RoIs of objects) whose class is predicted.
        teacher_right: Share of the teacher's positives that it classifies
            right, ``None`` where it has none.
        student_wrong: Share of the student's positives that it classifies
            wrong, ``None`` where it has none.
        gap_rate: Share of positives with the teacher right and the student
            wrong; ``None`` where their positives do not coincide.
    """

    total: Tensor
    parts: dict[str, Tensor]
    positives: int
    teacher_right: float | None
    student_wrong: float | None
    gap_rate: float | None
    _live: dict[str, Tensor] = field(
        default_factory=dict, repr=False, compare=False
    )

    def part_gradients(self, tensors: Sequence[Tensor]) -> dict[str, float]:
        """Return the norm of each part's gradient with respect to tensors.

        To be called before the graph of ``total`` is freed, which it keeps.
        The parts are as in ``parts``: alpha and beta are not in.

        Args:
            tensors: What the gradient is taken of, for example the policy.

        Returns:
            The Euclidean norm over all tensors, by the names in ``PARTS``.
        """
        norms: dict[str, float] = {}
        for name in PARTS:
            norms[name] = 0.0
            part = self._live.get(name)
            if part is None or not part.requires_grad:
                continue
            gradients = torch.autograd.grad(
                part, list(tensors), retain_graph=True, allow_unused=True
            )
            norms[name] = math.sqrt(
                sum(
                    float(g.square().sum()) for g in gradients if g is not None
                )
            )
        return norms
