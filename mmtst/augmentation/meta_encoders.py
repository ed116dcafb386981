"""Build the eleven meta-encoders and read and write their prior."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from mmtst.utils.plain_json import read_bounded
from mmtst.utils.safe_reading import explain, read_weights_only
from mmtst.utils.writing import writing

Prior = dict[str, dict[str, Tensor]]
"""The tensors of each meta-encoder, by operator and by buffer name."""

PRIOR_FORMAT = 1
_WHERE = 'model.augmentation.prior'
# A prior has some thousand numbers.
_MOST_BYTES = 1 << 24


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
    with writing(path):
        torch.save(content, path)


def load_prior(path: str | Path, network: Network) -> Prior:
    """Read a prior.

    Args:
        path: Of a file written by ``save_prior``.
        network: The network it must be for.

    Returns:
        The tensors of each meta-encoder.

    Raises:
        ConfigError: No such file, not a prior, one for another network, or
            one with numbers that are not finite.
    """
    refit = f'tools/fit_prior.py --network {network} --out FILE makes one'

    def refuse(what: str, got: object = path, **lines: Any) -> ConfigError:
        return ConfigError(
            what, where=_WHERE, got=str(got), fix=refit, **lines
        )

    data = read_bounded(
        path, where=_WHERE, what='The prior', fix=refit, most_bytes=_MOST_BYTES
    )
    try:
        content = read_weights_only(data, 'cpu')
    except Exception as error:
        raise refuse(f'The file is not a prior: {explain(error)}') from error
    missing = [
        key
        for key in ('format', 'network', 'encoders')
        if not isinstance(content, Mapping) or key not in content
    ]
    if missing:
        raise refuse(
            f'The file is not a prior: it has no {", ".join(missing)}'
        )
    found = [
        value if isinstance(value, (int, str)) else type(value).__name__
        for value in (content['network'], content['format'])
    ]
    if found != [network, PRIOR_FORMAT]:
        raise refuse(
            'The prior is for another network or version',
            f'{path}: network {found[0]!s:.40}, format {found[1]!s:.40}',
            allowed=f'network {network}, format {PRIOR_FORMAT}',
        )
    return _check_tensors(content['encoders'], refuse)


def _check_tensors(
    encoders: Any, refuse: Callable[[str], ConfigError]
) -> Prior:
    """Return the tensors of a file, each finite."""
    if not isinstance(encoders, Mapping):
        raise refuse('The file is not a prior: its encoders are no dictionary')
    prior: Prior = {}
    for operator, tensors in encoders.items():
        if not isinstance(tensors, Mapping):
            raise refuse(
                'The file is not a prior: its entry '
                f'{operator!r:.40} is no dictionary'
            )
        for name, value in tensors.items():
            if not isinstance(value, Tensor) or not value.is_floating_point():
                problem = 'is no tensor of floating-point numbers'
            elif not bool(value.isfinite().all()):
                problem = 'holds numbers that are not finite'
            else:
                continue
            raise refuse(
                f'The prior cannot be used: {operator!s:.40}.{name!s:.40} '
                f'{problem}'
            )
        prior[str(operator)] = {
            str(name): value.detach() for name, value in tensors.items()
        }
    return prior
