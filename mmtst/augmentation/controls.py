"""Replace a searched policy by a control that a sceptic asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmtst.augmentation.base import (
    AFFINE_OPERATORS,
    COLOR_OPERATORS,
    FIXED_OPERATORS,
    MAGNITUDE_OPERATORS,
    OPERATORS,
    Policy,
)
from mmtst.augmentation.gates import GateForm
from mmtst.utils.errors import ConfigError
from mmtst.utils.plain_json import PlainJsonError, parse_json, read_bounded

# A search of a million steps writes about as much.
_MOST_BYTES = 1 << 30
CONTROLS = ('searched', 'off', 'same_mean', 'permuted', 'randaugment')


def check_control(control: str) -> None:
    """Raise unless ``control`` is a known word or ``replay:FILE``.

    Raises:
        ConfigError: It is neither.
    """
    word, _, file = control.partition(':')
    if control in CONTROLS or (word == 'replay' and file):
        return
    raise ConfigError(
        'unknown policy control',
        where='model.policy',
        got=control,
        allowed=', '.join(CONTROLS) + ', replay:FILE',
    )


def check_control_gate(control: str, form: GateForm) -> None:
    """Raise unless a control means the same under a form of the gates.

    Raises:
        ConfigError: ``randaugment`` under a form in which no gate is always
            open.
    """
    if control == 'randaugment' and form != 'logit':
        raise ConfigError(
            'randaugment applies every chosen operator, which gates of this '
            'form never do',
            where='model.augmentation.gate',
            got=form,
            allowed='logit',
            fix="set gate='logit' beside the preset, or take another policy",
        )


def control_policy(
    control: str,
    searched: Policy,
    generator: torch.Generator,
    replayed: Policy | None = None,
    seed: int = 0,
) -> Policy:
    """Return the policy that a control applies.

    Args:
        control: ``'searched'`` (as it is), ``'same_mean'`` (all rates and
            all magnitudes at their means), ``'permuted'`` (parameters
            exchanged among operators of one kind, by ``seed``), or
            ``'randaugment'`` (every chosen operator applied, one uniform
            magnitude for each operator and batch), or ``'replay:FILE'``.
        searched: The policy of the encoder.
        generator: CPU generator of ``'randaugment'``.
        replayed: The policy of ``'replay:FILE'``, returned as it is.
        seed: Of the exchange of ``'permuted'``.
    """
    if replayed is not None:
        return Policy(
            replayed.th_p.to(searched.th_p), replayed.th_m.to(searched.th_m)
        )
    if control == 'same_mean':
        p = searched.probabilities.mean().expand_as(searched.th_p)
        m = searched.magnitudes.mean().expand_as(searched.th_m)
        return Policy(torch.logit(p), torch.logit(m))
    if control == 'permuted':
        # One fixed exchange: a control that changed from step to step would
        # be another augmentation altogether.
        return permute_policy(searched, torch.Generator().manual_seed(seed))
    if control == 'randaugment':
        m = torch.rand(len(searched.th_m), generator=generator)
        return Policy(
            torch.full_like(searched.th_p, 30.0),
            torch.logit(m, eps=1e-3).to(searched.th_m),
        )
    return searched


def permute_policy(policy: Policy, generator: torch.Generator) -> Policy:
    """Exchange parameters among operators of the same kind.

    Affine operators trade with affine ones, colour with colour, fixed with
    fixed, so that mean rate and mean magnitude stay as they are. An
    operator's rate and magnitude move together, and none keeps its own.

    Args:
        policy: What to permute.
        generator: CPU generator.
    """
    order: list[Tensor] = []
    start = 0
    for kind in (AFFINE_OPERATORS, COLOR_OPERATORS, FIXED_OPERATORS):
        order.append(start + _derangement(len(kind), generator))
        start += len(kind)
    index = torch.cat(order).to(policy.th_p.device)
    return Policy(
        policy.th_p[index], policy.th_m[index[: len(MAGNITUDE_OPERATORS)]]
    )


def _derangement(count: int, generator: torch.Generator) -> Tensor:
    """Draw a permutation that leaves nothing in its place."""
    while True:
        order = torch.randperm(count, generator=generator)
        if not bool((order == torch.arange(count)).any()):
            return order


def read_policy(path: str | Path, where: str = 'model.policy') -> Policy:
    """Read a policy from JSON, or from the last line of a JSON-lines file.

    The file has ``probabilities`` and ``magnitudes``, each a mapping from
    operator names to numbers in [0, 1].

    Raises:
        ConfigError: The file is missing, too large or malformed, lacks an
            operator or has an unknown one, or a number lies outside [0, 1].
    """

    def refuse(what: str) -> ConfigError:
        return ConfigError(
            what,
            where=where,
            got=str(path),
            allowed='a policy.jsonl of a search, or a JSON file with '
            '"probabilities" and "magnitudes"',
            fix='give one that a search has written',
        )

    content = read_bounded(
        path,
        where=where,
        what='the policy file',
        fix='give the policy.jsonl of a search',
        most_bytes=_MOST_BYTES,
    )
    try:
        data = _parse_last(content)
    except PlainJsonError as error:
        raise refuse(f'the policy file cannot be read: {error}') from error
    columns = []
    for key, short, names in (
        ('probabilities', 'prob', OPERATORS),
        ('magnitudes', 'mag', MAGNITUDE_OPERATORS),
    ):
        # The short names are those of a search's policy.jsonl.
        record = data if isinstance(data, dict) else {}
        values = record.get(key, record.get(short))
        if not isinstance(values, dict) or set(values) != set(names):
            raise refuse(f'"{key}" must name exactly {", ".join(names)}')
        for name in names:
            value = values[name]
            if type(value) not in (int, float) or not 0 <= value <= 1:
                raise refuse(
                    f'"{key}" must lie in [0, 1]: {name} is {value!r:.40}'
                )
        column = torch.tensor([float(values[name]) for name in names])
        columns.append(torch.logit(column, eps=1e-6))
    return Policy(*columns)


def _parse_last(content: bytes) -> Any:
    """Read a text as JSON, or else the last of its lines."""
    try:
        return parse_json(content)
    except PlainJsonError:
        lines = content.strip().splitlines()
        # The last line of a file that is one object closes it.
        if len(lines) < 2 or not lines[-1].startswith(b'{'):
            raise
    return parse_json(lines[-1])
