"""State what Stage II minimizes: the gap between teacher and student."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mmtst.models.objectives.interception import LossInterceptor, Mode
from mmtst.models.objectives.inversion import (
    HOW_TO_REGISTER,
    InversionOptions,
    bounded_negative,
    resolve_losses,
)
from mmtst.registry import MODELS
from mmtst.utils.errors import ConfigError

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
    ) -> None:
        super().__init__()
        weights = dict(weights or {})
        _check_number('alpha', alpha, 0.0)
        _check_number('beta', beta, 0.0)
        for name, weight in weights.items():
            if name not in WEIGHTED_PARTS:
                raise ConfigError(
                    'Unknown part of the objective',
                    where='objective.weights',
                    got=name,
                    allowed=', '.join(WEIGHTED_PARTS),
                )
            _check_number(f'weights.{name}', weight, 0.0)
        _check_number('box_scale', box_scale, 0.0)
        if box_scale == 0:
            raise ConfigError(
                'The scale of the inverted box losses must be over 0',
                where='objective.box_scale',
                got=box_scale,
            )
        _check_number('right_score', right_score, 0.0, 1.0)
        _check_word('mode', mode, ('default', 'official'))
        _check_word('on_escape', on_escape, ('error', 'bounded_negative'))
        self.alpha = float(alpha)
        self.beta = float(beta)
        self.weights = {
            name: float(weights.get(name, 1.0)) for name in WEIGHTED_PARTS
        }
        self.options = InversionOptions(box_scale=float(box_scale))
        self.mode = mode
        self.on_escape = on_escape
        self.right_score = float(right_score)

    def check(self, student: nn.Module) -> None:
        """Refuse a student with a loss that cannot be inverted.

        To be called when the models are built. Losses that a head computes
        without a module only show in the first ``forward``.

        Raises:
            ConfigError: If a loss module has no inversion and ``on_escape``
                is ``error``.
        """
        if self.on_escape == 'error':
            resolve_losses(student, self.mode)

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
        teacher_right = self._right(watched)
        student_right = self._right(caught)
        gap = None
        if len(student_right) and _same_positives(watched, caught):
            gap = float((teacher_right & ~student_right).float().mean())
        return GapResult(
            total=total,
            parts={name: part.detach() for name, part in live.items()},
            positives=len(student_right),
            teacher_right=_share(teacher_right),
            student_wrong=_share(~student_right),
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
        with LossInterceptor(teacher, 'watch', self.options) as watched:
            losses = task_losses(teacher(inputs, data_samples, mode='loss'))
        total = sum(losses.values(), live['T_other'])
        live['T_other'] = total
        for kind, share in watched.parts_of(total).items():
            if share is not None:
                live[f'T_{kind}'] = share
                live['T_other'] = live['T_other'] - share
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
        return caught

    def _right(self, interceptor: LossInterceptor) -> Tensor:
        """Return whether each positive is classified right, (P,), bool."""
        flags: list[Tensor] = []
        for _, inverted in interceptor.classified():
            right = inverted.top
            if right is None:
                continue
            if inverted.score is not None:
                right = right & (inverted.score >= self.right_score)
            flags.append(right[inverted.weights > 0].cpu())
        return torch.cat(flags) if flags else torch.zeros(0, dtype=torch.bool)


def task_losses(losses: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the losses in a model's loss dict as scalars by name.

    As in mmengine's ``parse_losses``: only entries with ``loss`` in their
    name count; a tensor counts by its mean, a list by the sum of its
    tensors' means. Entries of nested dicts are named ``outer.inner``.

    Raises:
        TypeError: If an entry is neither tensor, list nor dict.
    """
    return {
        name: sum((tensor.mean() for tensor in tensors[1:]), tensors[0].mean())
        for name, tensors in _flatten(losses)
        if 'loss' in name and tensors
    }


def _flatten(losses: Mapping[str, Any]) -> Iterator[tuple[str, list[Tensor]]]:
    """Yield each entry of a loss dict with the tensors in it."""
    for name, value in losses.items():
        if isinstance(value, Tensor):
            yield name, [value]
        elif isinstance(value, Mapping):
            for inner, tensors in _flatten(value):
                yield f'{name}.{inner}', tensors
        elif isinstance(value, (list, tuple)):
            inside = [
                tensor
                for _, tensors in _flatten(
                    {f'{name}.{i}': item for i, item in enumerate(value)}
                )
                for tensor in tensors
            ]
            yield name, inside
        elif 'loss' in name:
            raise TypeError(
                f'The loss {name!r} is a {type(value).__name__}, neither a '
                'tensor nor a list or dict of tensors.'
            )


def _same_positives(first: LossInterceptor, second: LossInterceptor) -> bool:
    """Tell whether two models classified the same positives, in order.

    RoIs are sampled for each model, so theirs never count as the same.
    """
    keys: list[list[Tensor]] = []
    for interceptor in (first, second):
        keys.append([])
        for call, inverted in interceptor.classified():
            if inverted.key is None or 'roi_head' in call.path.split('.'):
                return False
            keys[-1].append(inverted.key[inverted.weights > 0].cpu())
    return len(keys[0]) == len(keys[1]) and all(
        torch.equal(mine, other)
        for mine, other in zip(keys[0], keys[1], strict=True)
    )


def _share(flags: Tensor) -> float | None:
    return float(flags.float().mean()) if len(flags) else None


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


def _check_number(
    name: str, value: object, low: float, high: float = math.inf
) -> None:
    """Refuse what is no finite number between two bounds."""
    if (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and math.isfinite(value)
        and low <= value <= high
    ):
        return
    allowed = f'a number of at least {low:g}'
    if math.isfinite(high):
        allowed += f' and at most {high:g}'
    raise ConfigError(
        'An option of the objective is out of range',
        where=f'objective.{name}',
        got=value,
        allowed=allowed,
    )


def _check_word(name: str, value: object, allowed: tuple[str, ...]) -> None:
    """Refuse a word that is not among the allowed."""
    if value not in allowed:
        raise ConfigError(
            'Unknown option of the objective',
            where=f'objective.{name}',
            got=value,
            allowed=' or '.join(repr(word) for word in allowed),
        )
