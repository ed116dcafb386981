"""Open and shut operators by a relaxed Bernoulli variable."""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from mmtst.utils.checks import check_choice, check_number

GateForm = Literal['logit', 'log', 'sigmoid_as_logit']
"""What the noise is added to, for a probability p = sigmoid(parameter).

``logit``: logit(p), the parameter itself; the gate opens with probability p.
``log``: log(p), Eq. 4 as printed; it opens with probability p / (1 + p).
``sigmoid_as_logit``: p, what the reference code does; sigmoid(p).
"""
GATE_FORMS: tuple[str, ...] = get_args(GateForm)


def relaxed_bernoulli(
    parameter: Tensor,
    noise: Tensor,
    temperature: float,
    form: GateForm = 'logit',
) -> Tensor:
    """Draw relaxed Bernoulli values from given noise, Eq. 4.

    RBD = sigmoid((g(parameter) + noise) / temperature), g by ``form``.

    Args:
        parameter: Any shape, unbounded; p is its sigmoid.
        noise: Logistic(0, 1) noise of a shape that broadcasts with it.
        temperature: Over 0; the lower, the nearer to 0 and 1 the values.
        form: See ``GateForm``.

    Returns:
        Values in [0, 1], differentiable in ``parameter``.

    Raises:
        ConfigError: Unknown form, or a temperature that is not over 0.
    """
    check_number('model.augmentation.temperature', temperature, above=0)
    check_choice('model.augmentation.gate', form, GATE_FORMS)
    return torch.sigmoid((_location(parameter, form) + noise) / temperature)


def application_rate(parameter: Tensor, form: GateForm = 'logit') -> Tensor:
    """Return how often a gate is more open than shut.

    Args:
        parameter: Any shape, unbounded; p is its sigmoid.
        form: See ``GateForm``.

    Returns:
        p, p / (1 + p) or sigmoid(p), in (0, 1), differentiable.

    Raises:
        ConfigError: Unknown form.
    """
    check_choice('model.augmentation.gate', form, GATE_FORMS)
    return torch.sigmoid(_location(parameter, form))


def _location(parameter: Tensor, form: GateForm) -> Tensor:
    if form == 'logit':
        return parameter
    if form == 'log':
        return F.logsigmoid(parameter)
    return torch.sigmoid(parameter)


def logistic_noise(
    shape: tuple[int, ...], generator: torch.Generator
) -> Tensor:
    """Draw Logistic(0, 1) noise on the CPU.

    Args:
        shape: Of the result.
        generator: A CPU generator.

    Returns:
        float64, finite.
    """
    uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
    # The ends have infinite logits; a step inward is under one draw in 1e15.
    return torch.logit(uniform, eps=1e-15)
