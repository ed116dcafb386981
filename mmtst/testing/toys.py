"""Make models whose losses are known by hand, for tests."""

from __future__ import annotations

from typing import Any

import torch
from mmdet.models.losses import FocalLoss, L1Loss
from torch import Tensor, nn


class ToyDetector(nn.Module):
    """Classifies each pixel row of the input as one of two classes."""

    def __init__(self, logits: Tensor, labels: Tensor) -> None:
        super().__init__()
        self.head = nn.ModuleDict(
            {'loss_cls': FocalLoss(), 'loss_bbox': L1Loss()}
        )
        self.logits, self.labels = logits, labels

    def forward(
        self, inputs: Tensor, data_samples: Any, mode: str
    ) -> dict[str, Any]:
        """Return the losses; with an entry that is none."""
        if mode != 'loss':
            raise ValueError(f"mode must be 'loss', got {mode!r}")
        logits = self.logits + inputs.mean()
        boxes = inputs.mean().expand(len(logits), 4)
        return dict(
            loss_cls=[self.head['loss_cls'](logits, self.labels)],
            loss_bbox=self.head['loss_bbox'](boxes, torch.ones_like(boxes)),
            acc=torch.tensor(55.0),
        )


class ToyFunctional(ToyDetector):
    """Has a loss beside, which no module computes."""

    def forward(
        self, inputs: Tensor, data_samples: Any, mode: str
    ) -> dict[str, Any]:
        """Return the losses of the toy, and the mean square of its input."""
        losses = super().forward(inputs, data_samples, mode)
        return losses | dict(loss_aux=inputs.square().mean())


def logits_of(flags: list[int], high: float = 4.0) -> Tensor:
    """Return logits that are right (class 0) where a flag is set."""
    rows = [[high, -4.0] if flag else [-4.0, high] for flag in flags]
    return torch.tensor(rows, dtype=torch.float64)


def toy(flags: list[int], high: float = 4.0) -> ToyDetector:
    """Return a model that is right on the rows whose flag is set."""
    return ToyDetector(
        logits_of(flags, high), torch.zeros(len(flags), dtype=torch.long)
    )


def toy_inputs() -> Tensor:
    """Return the images, (1, 1, 2, 2), of mean 0.1, with gradient."""
    return torch.full((1, 1, 2, 2), 0.1, dtype=torch.float64).requires_grad_()
