"""Build the eleven meta-encoders and read and write their prior."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmtst.augmentation.affine_encoder import (
    AffineEncoder,
    BasisAffineEncoder,
    ConcatAffineEncoder,
)
from mmtst.augmentation.base import AFFINE_OPERATORS, MAGNITUDE_OPERATORS
from mmtst.augmentation.color_encoder import (
    ColorEncoder,
    QuadraticColorEncoder,
    ScaleShiftColorEncoder,
)
from mmtst.augmentation.presets import NETWORKS, Network
from mmtst.utils.checks import check_choice
from mmtst.utils.errors import ConfigError

Prior = dict[str, dict[str, Tensor]]
"""The tensors of each meta-encoder, by operator and by buffer name."""

PRIOR_FORMAT = 1
_WHERE = 'model.augmentation.prior'


def build_meta_encoder(
    operator: str, network: Network
) -> AffineEncoder | ColorEncoder:
    """Build one meta-encoder, not fitted yet.

    Args:
        operator: One of ``MAGNITUDE_OPERATORS``.
        network: ``quadratic``, ``paper`` or ``official``.

    Returns:
        The module; its buffers are what Stage I fits.

    Raises:
        ConfigError: Unknown operator or network.
    """
    if operator not in MAGNITUDE_OPERATORS:
        raise ConfigError(
            'No meta-encoder imitates this operator',
            got=operator,
            allowed=', '.join(MAGNITUDE_OPERATORS),
        )
    check_choice('model.augmentation.network', network, NETWORKS)
    if operator in AFFINE_OPERATORS:
        if network == 'quadratic':
            return BasisAffineEncoder(operator)
        return ConcatAffineEncoder()
    if network == 'quadratic':
        return QuadraticColorEncoder()
    return ScaleShiftColorEncoder()


def build_meta_encoders(network: Network, prior: Prior) -> nn.ModuleDict:
    """Build all meta-encoders with a fitted prior.

    Args:
        network: ``quadratic``, ``paper`` or ``official``.
        prior: What ``load_prior`` or ``fit_prior`` gave.

    Returns:
        Modules by operator, in the order of ``MAGNITUDE_OPERATORS``.

    Raises:
        ConfigError: Tensors are missing, left over, or of another shape.
    """
    encoders = nn.ModuleDict(
        {name: build_meta_encoder(name, network) for name in prior_names()}
    )
    expected = {
        f'{operator}.{name}': tuple(value.shape)
        for operator, encoder in encoders.items()
        for name, value in encoder.named_buffers()
    }
    flat = {
        f'{operator}.{name}': value
        for operator, tensors in prior.items()
        for name, value in tensors.items()
    }
    got = {key: tuple(value.shape) for key, value in flat.items()}
    problems = [f'missing {key}' for key in expected if key not in got]
    problems += [f'unknown {key}' for key in got if key not in expected]
    problems += [
        f'{key} is {got[key]}, not {shape}'
        for key, shape in expected.items()
        if got.get(key, shape) != shape
    ]
    if problems:
        raise ConfigError(
            f'The prior does not fit the {network} network: '
            + '; '.join(problems[:6])
            + (f'; and {len(problems) - 6} more' if problems[6:] else ''),
            where=_WHERE,
            fix='fit it again: tools/fit_prior.py '
            f'--network {network} --out FILE',
        )
    encoders.load_state_dict(flat)
    return encoders


def prior_names() -> tuple[str, ...]:
    """Return the operators that a prior has tensors for."""
    return MAGNITUDE_OPERATORS


def shipped_prior(network: Network) -> Path:
    """Return the path of the prior that comes with the package."""
    check_choice('model.augmentation.network', network, NETWORKS)
    return Path(__file__).parent / 'priors' / f'{network}.pth'


def save_prior(path: str | Path, network: Network, prior: Prior) -> None:
    """Write a prior as a file that ``load_prior`` reads.

    Args:
        path: Of the file; its folder is made if need be.
        network: Which network it was fitted for.
        prior: The tensors; stored as float32.
    """
    tensors = {
        operator: {
            name: value.detach().to('cpu', torch.float32).contiguous()
            for name, value in values.items()
        }
        for operator, values in prior.items()
    }
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    content = dict(format=PRIOR_FORMAT, network=network, encoders=tensors)
    torch.save(content, path)


def load_prior(path: str | Path, network: Network) -> Prior:
    """Read a prior.

    Args:
        path: Of a file written by ``save_prior``.
        network: The network it must be for.

    Returns:
        The tensors of each meta-encoder.

    Raises:
        ConfigError: No such file, not a prior, or one for another network.
    """
    refit = f'tools/fit_prior.py --network {network} --out FILE makes one'
    if not Path(path).is_file():
        raise ConfigError(
            'There is no such prior', where=_WHERE, got=str(path), fix=refit
        )
    try:
        content: Any = torch.load(path, map_location='cpu', weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ConfigError(
            f'The file is not a prior: {error}',
            where=_WHERE,
            got=str(path),
            fix=refit,
        ) from error
    missing = [
        key
        for key in ('format', 'network', 'encoders')
        if not isinstance(content, Mapping) or key not in content
    ]
    if missing:
        raise ConfigError(
            f'The file is not a prior: it has no {", ".join(missing)}',
            where=_WHERE,
            got=str(path),
            fix=refit,
        )
    if content['format'] != PRIOR_FORMAT or content['network'] != network:
        raise ConfigError(
            'The prior is for another network or version',
            where=_WHERE,
            got=f'{path}: network {content["network"]}, '
            f'format {content["format"]}',
            allowed=f'network {network}, format {PRIOR_FORMAT}',
            fix=refit,
        )
    return {
        operator: dict(tensors)
        for operator, tensors in content['encoders'].items()
    }
