"""Distil the likeness of samples by contrast (CRD)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather
from torch import Tensor, nn

from mmtst.models.losses.levels import full_precision
from mmtst.models.losses.sample_fields import sample_numbers
from mmtst.registry import MODELS
from mmtst.utils.checks import check_choice, check_number

_NEGATIVES = ('other_classes', 'other_samples')


@MODELS.register_module()
class CRDLoss(nn.Module):
    """Compute contrastive representation distillation (CRD).

    Tian et al., ICLR 2020, https://arxiv.org/abs/1910.10699. An embedding of
    the student is to be told by its likeness to what a memory holds of the
    teacher: close to the teacher's of the same sample, far from those of N
    others; and the same with the sides exchanged. With M samples in the data
    set, embeddings s, t of length 1, and Z the mean of exp(s't / tau) over
    the pairs of the first batch, times M (Eq. 18 and 19):

    .. code-block:: text

        h(s, t) = p / (p + N / M),   p = exp(s't / tau) / Z
        loss = -log h(s, t+) - sum over N negatives of log(1 - h(s, t-))

    averaged over rows, both sides added. After each step the memories of the
    samples in it move, ``m = normalize(momentum m + (1 - momentum) e)``.

    mmrazor's ``CRDLoss`` is not used: it forgets its weight, draws from a
    table that stays on the CPU, and its exact mode has every sample bring its
    N indices through the loader. Here negatives are drawn in one call on the
    device, and one matrix product compares a row with the whole memory.

    *Positives* are the sample itself, the authors' mode ``exact``. *Negatives*
    are drawn uniformly, with replacement, for each row: from the samples of
    other classes, as the authors draw them, or from all others. No list of
    labels is needed: the loss keeps those that it has seen. A sample not yet
    seen may be drawn whatever its class, which does no harm, since its memory
    is still the random vector of the start.

    *Several views* of a sample in one batch, as under TST, are rows of their
    own, with their own negatives; their sample's memory moves once, to the
    mean of their embeddings.

    *Resuming* is exact: memories, labels and Z are buffers (51 MB in a
    checkpoint at the default size). Draws come from torch's global generator
    of the device, which ``ExactResumeHook`` seeds for every step.

    *Several processes* gather their rows before the memories move, so that
    all hold the same; batches must be equally large.

    Args:
        num_samples: Length M of the data set; indices are below it.
        channels: Length of the embeddings.
        num_negatives: Number N of negatives for each row.
        temperature: tau, over 0.
        momentum: What remains of a memory in a step, in [0, 1).
        negatives: ``'other_classes'``, which needs ``gt_label``, or
            ``'other_samples'``.
        loss_weight: Factor of the result.

    Raises:
        ConfigError: An option is out of range.
    """

    student_memory: Tensor
    teacher_memory: Tensor
    log_normalizers: Tensor
    labels: Tensor

    def __init__(
        self,
        num_samples: int = 50000,
        channels: int = 128,
        num_negatives: int = 16384,
        temperature: float = 0.07,
        momentum: float = 0.5,
        negatives: str = 'other_classes',
        loss_weight: float = 0.8,
    ) -> None:
        super().__init__()
        where = 'distill_losses.*'
        counts = dict(channels=channels, num_negatives=num_negatives)
        for name, count in counts.items():
            check_number(f'{where}.{name}', count, least=1, whole=True)
        check_number(f'{where}.num_samples', num_samples, least=2, whole=True)
        check_number(f'{where}.temperature', temperature, above=0)
        check_number(f'{where}.momentum', momentum, least=0, below=1)
        check_choice(f'{where}.negatives', negatives, _NEGATIVES)
        check_number(f'{where}.loss_weight', loss_weight, least=0)
        self.num_samples = num_samples
        self.num_negatives = num_negatives
        self.temperature = temperature
        self.momentum = momentum
        self.negatives = negatives
        self.loss_weight = loss_weight
        # Entries of variance 1 / channels: vectors of length about 1.
        bound = math.sqrt(3 / channels)
        for side in ('student', 'teacher'):
            memory = torch.empty(num_samples, channels)
            memory.uniform_(-bound, bound)
            self.register_buffer(f'{side}_memory', memory)
        # log Z of the student's rows and of the teacher's, from a first step.
        self.register_buffer('log_normalizers', torch.full((2,), -math.inf))
        self.register_buffer('labels', torch.full((num_samples,), -1))

    def forward(
        self, preds_S: Tensor, preds_T: Tensor, data_samples: Sequence[Any]
    ) -> Tensor:
        """Compute the loss, and move the memories.

        Args:
            preds_S: Student embeddings, (V, channels), of length 1.
            preds_T: The teacher's. Not detached: the connector that makes
                them learns too, and the teacher runs without gradient.
            data_samples: Samples of the V images, each with ``sample_idx``,
                its index in the data set, and, for ``'other_classes'``,
                ``gt_label``; see :func:`sample_numbers` for their form.

        Returns:
            A scalar.

        Raises:
            ValueError: A sample lacks a field, or shapes, the number of
                samples or indices do not fit.
        """
        device = preds_S.device
        indices, labels = (x.to(device) for x in self._numbers(data_samples))
        self._check(preds_S, preds_T, indices, labels)
        self._learn_labels(indices, labels)
        with torch.autocast(device.type, enabled=False):
            student, teacher = full_precision(preds_S), full_precision(preds_T)
            drawn = self._draw(indices, labels)
            of_student = self._likeness(student, self.teacher_memory, drawn)
            of_teacher = self._likeness(teacher, self.student_memory, drawn)
            if bool(self.log_normalizers.isinf().any()):
                self._normalize(of_student, of_teacher)
            log_z = self.log_normalizers
            loss = self._contrast(of_student, log_z[0])
            loss = loss + self._contrast(of_teacher, log_z[1])
            self._move_memories(indices, student, teacher)
        return self.loss_weight * loss

    def _numbers(self, samples: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """Read (V,) indices and (V,) labels off the samples."""
        name = type(self).__name__
        indices = sample_numbers(
            samples,
            'sample_idx',
            name,
            'it is the index in the data set, which a pipeline has to pack',
        )
        if self.negatives == 'other_samples':
            return indices, torch.zeros_like(indices)
        labels = sample_numbers(
            samples,
            'gt_label',
            name,
            "set negatives='other_samples' where an image has no one class",
        )
        return indices, labels

    def _check(
        self,
        student: Tensor,
        teacher: Tensor,
        indices: Tensor,
        labels: Tensor,
    ) -> None:
        wanted = (len(indices), self.student_memory.shape[1])
        shapes = [tuple(student.shape), tuple(teacher.shape)]
        if shapes != [wanted, wanted] or len(labels) != len(indices):
            raise ValueError(
                f'CRDLoss: embeddings of {shapes[0]} (student) and '
                f'{shapes[1]} (teacher), {len(indices)} sample_idx and '
                f'{len(labels)} labels; embeddings are (V, '
                f'channels={wanted[1]}), one row for each of V samples'
            )
        low, high = int(indices.min()), int(indices.max())
        if low < 0 or high >= self.num_samples:
            raise ValueError(
                f'CRDLoss: sample_idx from {low} to {high}, but num_samples '
                f'is {self.num_samples}; set it to the length of the data set'
            )

    def _learn_labels(self, indices: Tensor, labels: Tensor) -> None:
        if self.negatives == 'other_classes':
            self.labels[_gathered(indices)] = _gathered(labels)

    def _draw(self, indices: Tensor, labels: Tensor) -> Tensor:
        """Return (V, 1 + N) indices: of each row's positive, its negatives.

        What a row must not draw is a run of ranks in an order by class, from
        ``start`` on; ranks beyond it move up by its length.
        """
        if self.negatives == 'other_classes':
            ordered, order = self.labels.sort(stable=True)
            start = torch.searchsorted(ordered, labels)
            own = torch.searchsorted(ordered, labels, right=True) - start
        else:
            order = None
            start, own = indices, torch.ones_like(indices)
        others = self.num_samples - own
        if int(others.min()) < 1:
            raise ValueError(
                'CRDLoss: all of the data set is of one class; set '
                "negatives='other_samples'"
            )
        # Of so many numbers that the remainder is as good as uniform.
        ranks = torch.randint(
            2**62, (len(indices), self.num_negatives), device=indices.device
        )
        ranks = ranks % others[:, None]
        ranks = ranks + own[:, None] * (ranks >= start[:, None])
        drawn = ranks if order is None else order[ranks]
        return torch.cat([indices[:, None], drawn], dim=1)

    def _likeness(self, rows: Tensor, memory: Tensor, drawn: Tensor) -> Tensor:
        """Return (V, 1 + N) inner products of rows with memories, by tau.

        A product with all of the memory takes less room than the vectors that
        were drawn. The memory is copied since it moves before the gradient is
        computed.
        """
        likeness = rows @ memory.to(rows).clone().T
        return likeness.gather(1, drawn) / self.temperature

    @torch.no_grad()
    def _normalize(self, *likeness: Tensor) -> None:
        """Set Z of both sides from a first batch."""
        pairs = torch.stack([_gathered(x).flatten() for x in likeness])
        log_means = pairs.logsumexp(1) - math.log(pairs.shape[1])
        self.log_normalizers.copy_(log_means + math.log(self.num_samples))

    def _contrast(self, likeness: Tensor, log_z: Tensor) -> Tensor:
        """Compute the loss of one side.

        With r = log p - log(N / M) it is h = sigmoid(r).
        """
        noise = math.log(self.num_negatives / self.num_samples)
        ratio = likeness - log_z.clone() - noise
        positive, negative = ratio[:, 0], ratio[:, 1:]
        rows = F.softplus(-positive) + F.softplus(negative).sum(1)
        return rows.mean()

    @torch.no_grad()
    def _move_memories(
        self, indices: Tensor, student: Tensor, teacher: Tensor
    ) -> None:
        """Move the memories of the samples that were seen, once each."""
        indices, views = _gathered(indices).unique(return_inverse=True)
        numbers = views.bincount().unsqueeze(1)
        for memory, rows in (
            (self.student_memory, student),
            (self.teacher_memory, teacher),
        ):
            rows = _gathered(rows.detach()).to(memory)
            mean = memory.new_zeros(len(indices), memory.shape[1])
            mean = mean.index_add(0, views, rows) / numbers
            moved = torch.lerp(mean, memory[indices], self.momentum)
            memory[indices] = F.normalize(moved, dim=1)


def _gathered(rows: Tensor) -> Tensor:
    """Join the rows of all processes; those of one are returned as is."""
    return torch.cat(all_gather(rows.contiguous()))
