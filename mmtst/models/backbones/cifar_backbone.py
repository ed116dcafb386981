"""Hand out the maps of a network's stages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from mmpretrain.models.backbones.base_backbone import BaseBackbone
from torch import Tensor, nn

from mmtst.registry import MODELS
from mmtst.utils.checks import check_flag
from mmtst.utils.errors import ConfigError

InitConfig = dict[str, Any] | list[dict[str, Any]] | None

# He et al. 2015: normal weights by the fan-out; biases 0.
KAIMING = (
    dict(type='Kaiming', layer='Conv2d'),
    dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
)


class CIFARBackbone(BaseBackbone):  # type: ignore[misc]
    """Run a stem, S stages and a last layer; return the maps asked for.

    Base of the networks with which papers distil on CIFAR: those of the
    tables of CRD (https://arxiv.org/abs/1910.10699), which ReviewKD
    (https://arxiv.org/abs/2104.09044) and DKD
    (https://arxiv.org/abs/2203.08679) took over.

    Convention: index 0 to S - 1 is the map of a stage, after its last block
    and the activation that follows, index S the map that neck and head read,
    activated. With all of them and global average pooling, the last is what
    those papers call the penultimate feature. No map is overwritten by what
    follows it.

    ReviewKD's teachers, AB and OFD want maps before the activation: see
    ``preact``. Recorders find either at any time, as outputs of
    ``backbone.stages.I`` (before) and ``backbone.activations.I`` (after).

    Args:
        stem: What comes before the first stage, in order.
        stages: S modules, each without the activation at its end.
        activations: S modules, those activations; they must not work in
            place.
        last: What comes between the last stage and the head, in order.
        channels: Of the S + 1 maps.
        out_indices: Which maps to return, ascending, from 0 to S. The head
            reads the last of them.
        preact: Whether the maps of the stages are returned as they are
            before their activation. Index S is activated all the same.
        init_cfg: mmengine's initialization config.

    Raises:
        ConfigError: An index is out of range or not in order, or ``preact``
            is no flag.
    """

    def __init__(
        self,
        stem: Iterable[nn.Module],
        stages: Iterable[nn.Module],
        activations: Iterable[nn.Module],
        last: Iterable[nn.Module],
        channels: Sequence[int],
        *,
        out_indices: Sequence[int],
        preact: bool = False,
        init_cfg: InitConfig = None,
    ) -> None:
        super().__init__(init_cfg)
        check_indices(out_indices, len(channels))
        check_flag('model.backbone.preact', preact)
        # torch's containers on purpose: through mmengine's, or as plain
        # children, mmcv's modules would initialize themselves after init_cfg.
        self.stem = nn.Sequential(*stem)
        self.stages = nn.ModuleList(stages)
        self.activations = nn.ModuleList(activations)
        self.last = nn.Sequential(*last)
        self.out_indices = tuple(out_indices)
        self.preact = preact
        self._channels = tuple(channels)

    @property
    def out_channels(self) -> tuple[int, ...]:
        """Count the channels of each map that ``forward`` returns."""
        return tuple(self._channels[index] for index in self.out_indices)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the maps.

        Args:
            x: Images, (B, 3, H, W), normalized; the papers' are 32 x 32.

        Returns:
            The maps named by ``out_indices``, each (B, C, h, w).
        """
        x = self.stem(x)
        maps = []
        for stage, activation in zip(
            self.stages, self.activations, strict=True
        ):
            before = stage(x)
            x = activation(before)
            maps.append(before if self.preact else x)
        return self._select([*maps, self.last(x)])

    def train(self, mode: bool = True) -> CIFARBackbone:
        """Set the mode; unlike mmpretrain's, return the network as torch's."""
        super().train(mode)
        return self

    def _select(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return tuple(maps[index] for index in self.out_indices)


def join_blocks(blocks: Iterable[nn.Module]) -> nn.Sequential:
    """Chain blocks with a ReLU after each but the last."""
    first, *others = blocks
    chain = [first]
    for block in others:
        chain += [nn.ReLU(inplace=True), block]
    return nn.Sequential(*chain)


def norm_config(norm_cfg: dict[str, Any] | None) -> dict[str, Any]:
    """Return the config of the norms, by default that of batch norm.

    Raises:
        ConfigError: It names no norm that there is.
    """
    if not norm_cfg:
        return dict(type='BN')
    kind = norm_cfg.get('type')
    if not isinstance(kind, str) or MODELS.get(kind) is None:
        raise ConfigError(
            'norm_cfg names no norm that there is',
            where='model.backbone.norm_cfg.type',
            got=kind,
            allowed="'BN', 'SyncBN', 'GN', ...",
        )
    return norm_cfg


def check_depth(depth: Any, *, offset: int) -> None:
    """Check a depth of three stages of blocks of two layers.

    Args:
        depth: What was given.
        offset: Layers besides the blocks'.

    Raises:
        ConfigError: It is not 6n + ``offset`` with n from 1.
    """
    good = type(depth) is int and depth > offset and (depth - offset) % 6 == 0
    if not good:
        first = ', '.join(str(6 * n + offset) for n in range(1, 8))
        raise ConfigError(
            'No network of this kind has this depth',
            where='model.backbone.depth',
            got=depth,
            allowed=f'6n + {offset}: {first}, ...',
        )


def check_indices(indices: Sequence[int], count: int) -> None:
    """Check which maps to return.

    Args:
        indices: What was given.
        count: Of the maps that there are.

    Raises:
        ConfigError: They are no ascending indices of maps.
    """
    good = (
        isinstance(indices, (list, tuple, range))
        and len(indices) > 0
        and all(type(index) is int for index in indices)
        and list(indices) == sorted(set(indices) & set(range(count)))
    )
    if not good:
        raise ConfigError(
            'out_indices are no ascending indices of maps',
            where='model.backbone.out_indices',
            got=indices,
            allowed=f'at least one of {", ".join(map(str, range(count)))}, '
            'in this order',
        )
