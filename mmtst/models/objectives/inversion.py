"""Register how each task loss is inverted, and find a model's losses.

Stage II rewards images that the student gets wrong, so each of the student's
losses is replaced by one that falls as the student fails. Classification:
``-log(1 - p_y)`` in the place of ``-log p_y`` (Eq. 2 of TST). Boxes:
``-s (1 - exp(-L / s))`` in the place of ``L``, which has slope -1 at zero as
``-L`` has, is bounded by ``-s`` and fades once the box is wrong already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mmtst.utils.checks import check_choice
from mmtst.utils.errors import ConfigError

Kind = Literal['cls', 'box']
Average = Literal['valid', 'loss']
Arguments = Mapping[str, Any]

LOSS_PACKAGES = (
    'mmdet.models.losses',
    'mmseg.models.losses',
    'mmpretrain.models.losses',
)
"""Where a module is taken for a task loss, registered or not."""

HOW_TO_REGISTER = (
    'register an inverted loss for the class with '
    "@mmtst.models.register_inversion(TheLoss, kind='cls' or 'box') "
    '(docs/en/how_to/add_an_inverted_loss.md), or set '
    "on_escape='bounded_negative'"
)


@dataclass(frozen=True)
class InversionOptions:
    """Hold what all inverted losses share.

    Attributes:
        box_scale: ``s`` of the bounded negative, over 0, in units of the
            loss.
        average: What a loss on label maps is divided by, see
            ``GapObjective``: what is ``valid`` of it, or as the ``loss``
            itself divides.
    """

    box_scale: float = 1.0
    average: Average = 'valid'


@dataclass(frozen=True)
class InvertedLoss:
    """Hold the inverted losses of one call of a loss module.

    P counts the positives of the call: anchors, points, RoIs or box sides
    that stand for an object. All tensors lie on the device of the
    predictions, in float32 or float64.

    Attributes:
        values: (P,), inverted losses before any weight. Carries gradient.
        weights: (P,), at least 0, the call's own sample weights.
        top: (P,), bool, whether the highest class score is the label's;
            ``None`` for losses that tell no classes apart.
        score: (P,), in [0, 1], the label's score where classes are scored
            independently (sigmoid); ``None`` under softmax, where being the
            highest is enough.
        key: (P, K), integer, by which the positives of two models are
            matched, in order: (row, label) where a model chooses its rows;
            the label alone, in a small type, where all that are labelled
            count, since two models that are shown the same label maps then
            have the same sequence. ``None`` where nothing can be matched.
        divisor: Scalar, at least 0, what the weighted sum of this call is
            divided by; the quotients of a module's calls add up, as the
            heads add the losses. ``None`` for the sum of the weights, those
            of all the module's calls taken together.
    """

    values: Tensor
    weights: Tensor
    top: Tensor | None = None
    score: Tensor | None = None
    key: Tensor | None = None
    divisor: Tensor | None = None


PositivesFunction = Callable[
    [nn.Module, Arguments, InversionOptions], InvertedLoss
]
OutputFunction = Callable[[nn.Module, Arguments, Tensor], Tensor]


@dataclass(frozen=True)
class Inversion:
    """Say how one class of losses is inverted.

    Attributes:
        kind: ``cls`` or ``box``: the part of the objective it belongs to.
        positives: Returns the inverted losses per positive from the module,
            the arguments bound to its ``forward`` and the options.
        official: Returns what the reference code has in the place of the
            module's output, from the module, the bound arguments and the
            output; ``None`` where the reference code knows no such loss.
        valid: Returns, from the same, what the output would be if the loss
            were averaged over what is labelled alone; ``None`` where it is.
    """

    kind: Kind
    positives: PositivesFunction
    official: OutputFunction | None = None
    valid: OutputFunction | None = None


INVERSIONS: dict[type, Inversion] = {}
REFUSALS: dict[type, str] = {}


def register_inversion(
    *loss_classes: type,
    kind: Kind,
    official: OutputFunction | None = None,
    valid: OutputFunction | None = None,
) -> Callable[[PositivesFunction], PositivesFunction]:
    """Register a function that inverts the losses of some classes.

    Args:
        *loss_classes: The classes, subclasses of ``nn.Module``. A class
            registered before is registered anew.
        kind: ``cls`` or ``box``.
        official: The reference code's form, if it has one.
        valid: The output averaged over what is labelled, if it is not.

    Returns:
        A decorator that returns the function as it is.

    Raises:
        ConfigError: If ``kind`` is neither ``cls`` nor ``box``.
    """
    check_choice('register_inversion.kind', kind, ('cls', 'box'))

    def register(function: PositivesFunction) -> PositivesFunction:
        for loss_class in loss_classes:
            INVERSIONS[loss_class] = Inversion(kind, function, official, valid)
        return function

    return register


def refuse_inversion(*loss_classes: type, reason: str) -> None:
    """Say why some classes have no inverted loss.

    Args:
        *loss_classes: The classes. A registered inversion goes before.
        reason: A sentence for the error, and what to do instead.
    """
    REFUSALS.update(dict.fromkeys(loss_classes, reason))


def find_inversion(loss: nn.Module | type) -> Inversion | None:
    """Return the inversion of a loss module or class, or ``None``.

    A subclass shares its parent's inversion only if it inherits the parent's
    ``forward``: one that computes its loss otherwise must be registered
    itself.
    """
    loss_class = loss if isinstance(loss, type) else type(loss)
    forward = getattr(loss_class, 'forward', None)
    for parent in loss_class.__mro__:
        if parent in INVERSIONS:
            if getattr(parent, 'forward', None) is forward:
                return INVERSIONS[parent]
            return None
    return None


def is_loss_module(module: nn.Module) -> bool:
    """Tell whether a module is a task loss, registered or not."""
    if find_inversion(module) is not None:
        return True
    if type(module).__name__ == 'Accuracy':  # lives among the losses
        return False
    home = type(module).__module__
    return any(
        home == package or home.startswith(f'{package}.')
        for package in LOSS_PACKAGES
    ) or type(module).__name__.endswith('Loss')


def loss_modules(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the (path, module) of every outermost loss module of a model.

    A loss inside another loss belongs to the outer one, if that one is
    registered.
    """
    found: list[tuple[str, nn.Module]] = []
    inside: list[str] = []
    for path, module in model.named_modules():
        if any(path.startswith(f'{outer}.') for outer in inside):
            continue
        if is_loss_module(module):
            found.append((path, module))
            if find_inversion(module) is not None:
                inside.append(path)
    return found


def resolve_losses(
    model: nn.Module, mode: str = 'default'
) -> list[tuple[str, str, Kind]]:
    """Return (module path, class name, kind) of each loss of a model.

    Losses that a head computes without a module cannot be seen here; they
    are found when the objective first runs.

    Args:
        model: A student.
        mode: ``default`` or ``official``, as in ``GapObjective``.

    Raises:
        ConfigError: If a loss has no inversion, or none in this mode.
    """
    resolved: list[tuple[str, str, Kind]] = []
    for path, module in loss_modules(model):
        name = type(module).__name__
        inversion = find_inversion(module)
        if inversion is None:
            reason = REFUSALS.get(type(module))
            raise ConfigError(
                f'No inverted loss is registered for {name}'
                + (f': {reason}' if reason else ''),
                where=f'student.{path}',
                got=f'{type(module).__module__}.{name}',
                allowed=_registered(type(module)),
                fix=HOW_TO_REGISTER,
            )
        if mode == 'official' and inversion.official is None:
            raise ConfigError(
                f'The reference code has no inverted form of {name}',
                where=f'student.{path}',
                got="mode='official'",
                fix="use mode='default'",
            )
        resolved.append((path, name, inversion.kind))
    return resolved


def _registered(loss_class: type) -> str:
    """List the losses with an inversion, of the class's package if it has."""
    package = loss_class.__module__.split('.')[0]
    own = [
        known
        for known in INVERSIONS
        if known.__module__.split('.')[0] == package
    ]
    return ', '.join(sorted({known.__name__ for known in own or INVERSIONS}))


def bounded_negative(losses: Tensor, scale: float) -> Tensor:
    """Return ``-s (1 - exp(-L / s))``.

    Args:
        losses: Losses, any shape. Under zero, where the formula would grow
            without bound, it is continued by its tangent ``-L``.
        scale: ``s``, over 0.
    """
    bounded = scale * torch.expm1(-losses.clamp(min=0) / scale)
    return torch.where(losses >= 0, bounded, -losses)


def at_least_float32(values: Tensor) -> Tensor:
    """Return half precision values in float32, others as they are."""
    if values.dtype in (torch.float16, torch.bfloat16):
        return values.float()
    return values


def above_zero(divisor: Tensor) -> Tensor:
    """Return a divisor, 1 in the place of 0: an empty sum stays 0."""
    return torch.where(divisor > 0, divisor, torch.ones_like(divisor))
