"""Hold what one step of a search measured, and average it over ranks."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from mmengine.dist import all_reduce
from torch import Tensor

from mmtst.engine.search_types import GUARD, PARTS


@dataclass
class StepOutcome:
    """Hold one step's outcome on this rank, or that of all ranks.

    Attributes:
        gradient: (25,), float64, of the objective; ``th_p`` first.
        objective: What is minimized.
        parts: Its parts by the names in ``PARTS``.
        guard: What became of the objects, by the names in ``GUARD``.
        positives: Number of positives.
        gaps: How many of ``compared`` positives the teacher has right and
            the student wrong.
        compared: Number of positives that both models classified.
        valid: 1 where there were objects and all numbers are finite, else 0
            (then all of the above are 0 too); over ranks their number.
        bad: 1 where something was not finite; over ranks their number.
        overflow: 1 where fp16 gradients overflowed; over ranks their number.
    """

    gradient: Tensor = field(
        default_factory=lambda: torch.zeros(25, dtype=torch.float64)
    )
    objective: float = 0.0
    parts: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(PARTS, 0.0)
    )
    guard: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(GUARD, 0.0)
    )
    positives: float = 0.0
    gaps: float = 0.0
    compared: float = 0.0
    valid: float = 0.0
    bad: float = 0.0
    overflow: float = 0.0

    def reduced(self) -> StepOutcome:
        """Average over all valid ranks in one message.

        Counts are summed. The result is the same, bit for bit, on all ranks.
        """
        scalars = [self.objective, *self.parts.values(), *self.guard.values()]
        counts = [
            self.positives,
            self.gaps,
            self.compared,
            self.valid,
            self.bad,
            self.overflow,
        ]
        message = torch.cat(
            [
                self.gradient,
                torch.tensor(scalars + counts, dtype=torch.float64),
            ]
        )
        all_reduce(message, op='sum')
        positives, gaps, compared, valid, bad, overflow = message[-6:].tolist()
        means = message[:-6] / max(valid, 1.0)
        values = means[25:].tolist()
        return StepOutcome(
            gradient=means[:25],
            objective=values[0],
            parts=dict(zip(PARTS, values[1 : 1 + len(PARTS)], strict=True)),
            guard=dict(zip(GUARD, values[1 + len(PARTS) :], strict=True)),
            positives=positives,
            gaps=gaps,
            compared=compared,
            valid=valid,
            bad=bad,
            overflow=overflow,
        )
