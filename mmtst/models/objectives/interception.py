"""Catch a model's losses where its loss modules compute them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mmtst.models.objectives.inversion import (
    Arguments,
    Inversion,
    InversionOptions,
    InvertedLoss,
    Kind,
    above_zero,
    find_inversion,
    loss_modules,
)
from mmtst.utils.errors import ConfigError

Mode = Literal['watch', 'invert', 'official']

_ASIDE = {'rpn_head', 'auxiliary_head'}


@dataclass(frozen=True)
class LossCall:
    """Hold one call of a registered loss module.

    Attributes:
        path: The module's path in the model.
        kind: ``cls`` or ``box``.
        loss_weight: The loss's own weight, times that of its cascade stage.
        output: What the call returned to the head, with graph.
        inverted: The inverted losses per positive; without graph where they
            only serve to tell right from wrong.
    """

    path: str
    kind: Kind
    loss_weight: float
    output: Tensor
    inverted: InvertedLoss | None


class LossInterceptor:
    """Intercept the losses of a model for as long as a ``with`` lasts.

    Forward hooks act on every loss module with a registered inversion, and
    only where gradients are enabled: assigners and hard-example miners call
    the same modules without. The hooks are gone after the ``with``, also
    after an exception.

    Modes:
        watch: Outputs are kept, so that the total can be split into its
            parts. They stay as they are, or are averaged over what is
            labelled, where ``options.average`` asks for it.
        invert: Outputs become zeros; the inverted losses are collected.
        official: Outputs become the reference code's inverted losses, which
            the heads then reduce and weight in their own way.

    Args:
        model: The model, called inside the ``with`` for its losses.
        mode: See above.
        options: What the inverted losses share.
    """

    def __init__(
        self,
        model: nn.Module,
        mode: Mode,
        options: InversionOptions | None = None,
    ) -> None:
        self.model = model
        self.mode = mode
        self.options = options or InversionOptions()
        self.calls: list[LossCall] = []
        self.strangers: list[tuple[str, str]] = []
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> LossInterceptor:
        """Add the hooks."""
        try:
            for path, module in loss_modules(self.model):
                self._handles.append(self._hook(path, module))
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove the hooks."""
        self._remove()

    def _remove(self) -> None:
        while self._handles:
            self._handles.pop().remove()

    def _hook(self, path: str, module: nn.Module) -> RemovableHandle:
        """Attach the hook to one loss module."""
        inversion = find_inversion(module)
        signature = inspect.signature(module.forward)
        weight = _stage_weight(self.model, path)

        def hook(
            loss: nn.Module,
            args: tuple[Any, ...],
            kwargs: dict[str, Any],
            output: Any,
        ) -> Any:
            if not torch.is_grad_enabled():
                return None
            if inversion is None or not isinstance(output, Tensor):
                self.strangers.append((path, _class_path(loss)))
                return None
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            with torch.autocast(output.device.type, enabled=False):
                return self._act(
                    path, loss, weight, inversion, bound.arguments, output
                )

        return module.register_forward_hook(hook, with_kwargs=True)

    def _act(
        self,
        path: str,
        loss: nn.Module,
        stage_weight: float,
        inversion: Inversion,
        arguments: Arguments,
        output: Tensor,
    ) -> Tensor:
        """Record one call and return what the head is to get."""
        inverted = None
        if self.mode == 'invert':
            inverted = inversion.positives(loss, arguments, self.options)
            output = torch.zeros_like(output)
        elif inversion.kind == 'cls':
            inverted = self._right_or_wrong(inversion, loss, arguments)
        over_valid = inversion.valid
        if (
            over_valid is not None
            and self.mode == 'watch'
            and self.options.average == 'valid'
        ):
            output = over_valid(loss, arguments, output)
        if self.mode == 'official':
            if inversion.official is None:
                raise ConfigError(
                    'The reference code has no inverted form of '
                    f'{type(loss).__name__}',
                    where=f'student.{path}',
                    got="mode='official'",
                    fix="use mode='default'",
                )
            output = inversion.official(loss, arguments, output)
        if self.mode != 'invert' and not output.requires_grad:
            # A leaf, by which the total can still be split.
            output = output.detach().requires_grad_()
        own = getattr(loss, 'loss_weight', 1.0)
        self.calls.append(
            LossCall(
                path,
                inversion.kind,
                float(own) * stage_weight,
                output,
                inverted,
            )
        )
        # Not what is kept: heads add losses of one name in place.
        return output.clone()

    def _right_or_wrong(
        self, inversion: Inversion, loss: nn.Module, arguments: Arguments
    ) -> InvertedLoss | None:
        """Return the positives of a call that needs no inverting."""
        try:
            with torch.no_grad():
                return inversion.positives(loss, arguments, self.options)
        except ConfigError:  # a teacher's losses need not be invertible
            return None

    def inverted_losses(self) -> dict[Kind, Tensor | None]:
        """Return the inverted losses of each kind, after mode ``invert``.

        For each module the weighted mean over all its positives, those of
        all calls (levels) and all images together, times the loss's weight;
        where calls bring divisors of their own, the weighted sum of each
        over its divisor. Summed over modules. ``None`` where no module of a
        kind was called. Zeros with a graph where there was no positive.
        """
        sums: dict[tuple[str, int], tuple[LossCall, Tensor, Tensor]] = {}
        for number, call in enumerate(self.calls):
            if call.inverted is None:
                continue
            values, weights = call.inverted.values, call.inverted.weights
            value, divisor = (weights * values).sum(), call.inverted.divisor
            if divisor is not None:
                sums[call.path, number] = (call, value, divisor)
                continue
            pooled = (call.path, -1)
            divisor = weights.sum()
            if pooled in sums:
                _, other_value, other_divisor = sums[pooled]
                value, divisor = value + other_value, divisor + other_divisor
            sums[pooled] = (call, value, divisor)
        totals: dict[Kind, Tensor | None] = {'cls': None, 'box': None}
        for call, value, divisor in sums.values():
            mean = call.loss_weight * value / above_zero(divisor)
            total = totals[call.kind]
            totals[call.kind] = mean if total is None else total + mean
        return totals

    def parts_of(self, total: Tensor) -> dict[Kind, Tensor | None]:
        """Return the share of each kind in a total, with graph.

        The total is linear in the modules' outputs, so a share is the sum of
        outputs times the total's derivative by them. ``None`` where the
        total depends on no output of a kind.
        """
        shares: dict[Kind, Tensor | None] = {'cls': None, 'box': None}
        if not self.calls or not total.requires_grad:
            return shares
        slopes = torch.autograd.grad(
            total,
            [call.output for call in self.calls],
            retain_graph=True,
            allow_unused=True,
        )
        for call, slope in zip(self.calls, slopes, strict=True):
            if slope is None:
                continue
            share = (slope * call.output).sum()
            before = shares[call.kind]
            shares[call.kind] = share if before is None else before + share
        return shares

    def escaped(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the losses that did not come through a registered module.

        After mode ``invert`` these are the entries that are not exactly
        zero; otherwise those that the modules' outputs do not account for.

        Args:
            losses: Scalars by name, as ``task_losses`` gives them. Those
                that are not finite are left out.
        """
        escaped: dict[str, Tensor] = {}
        for name, value in losses.items():
            rest = value
            if self.mode != 'invert':
                for share in self.parts_of(value).values():
                    rest = rest if share is None else rest - share
            size = abs(float(value.detach()))
            limit = 0.0 if self.mode == 'invert' else 1e-4 * size
            gone = abs(float(rest.detach()))
            # What is not finite says nothing about where it comes from.
            if math.isfinite(gone) and gone > limit:
                escaped[name] = rest
        return escaped

    def classified(self) -> list[tuple[LossCall, InvertedLoss]]:
        """Return the calls that tell classes apart.

        A first stage only tells objects from background, and auxiliary heads
        are not what is asked at test time: their calls are left out where
        another head has some.
        """
        calls = [
            (call, call.inverted)
            for call in self.calls
            if call.inverted is not None and call.inverted.top is not None
        ]
        main = [
            entry
            for entry in calls
            if _ASIDE.isdisjoint(entry[0].path.split('.'))
        ]
        return main or calls


def _class_path(module: nn.Module) -> str:
    return f'{type(module).__module__}.{type(module).__name__}'


def _stage_weight(model: nn.Module, path: str) -> float:
    """Return the weight that a cascade gives to the stage of a loss.

    The heads apply it to the losses after the loss modules. It is an
    attribute ``stage_loss_weights`` of the RoI head above the stage.
    """
    words = path.split('.')
    weight = 1.0
    for depth in range(len(words) - 2):
        owner = model.get_submodule('.'.join(words[:depth]))
        weights = getattr(owner, 'stage_loss_weights', None)
        if weights is not None and words[depth + 1].isdigit():
            weight *= float(weights[int(words[depth + 1])])
    return weight
