"""Build the wide ResNets for CIFAR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import build_norm_layer
from mmrazor.models.architectures.backbones.wideresnet import (
    BasicBlock,
    ResLayer,
)
from torch import Tensor, nn

from mmtst.models.backbones.cifar_backbone import (
    KAIMING,
    CIFARBackbone,
    InitConfig,
    check_depth,
    norm_config,
)
from mmtst.registry import MODELS
from mmtst.utils.checks import check_number
from mmtst.utils.errors import ConfigError


@MODELS.register_module()
class CIFARWideResNet(CIFARBackbone):
    """Build WRN-16-2, -28-10, -40-1, -40-2, -40-4 and their kin.

    Zagoruyko and Komodakis 2016 (https://arxiv.org/abs/1605.07146): a 3x3
    stem and three stages of (depth - 4) / 6 pre-activation blocks (norm, ReLU,
    3x3, norm, ReLU, 3x3); a norm and a ReLU after the last stage. Without
    dropout, as in CRD's tables.

    The blocks are those of mmrazor's ``WideResNet``, which is the same
    network, but returns its last map alone and is no ``BaseBackbone`` of
    mmpretrain. Here the norm and ReLU that open stage 2 and 3 (their first
    block changes the shape, so that its shortcut reads them too) are taken
    out of that block and close the stage before: maps before and after them
    can be had, and the norm runs once. Names in state dicts differ for it.

    ===== ============================= ============== ==========
    index map                           channels       of 32 x 32
    ===== ============================= ============== ==========
    0     stage 1                       16 width       32 x 32
    1     stage 2                       32 width       16 x 16
    2     stage 3                       64 width       8 x 8
    3     stage 3 after norm and ReLU   64 width       8 x 8
    ===== ============================= ============== ==========

    Maps 0 to 2 are the sums that the blocks give, neither normalized nor
    activated, as the tables' FitNet, AT and others read them. With ``preact``
    they are normalized: what the next ReLU reads, which is what ReviewKD,
    AB and OFD take. As outputs of modules: ``backbone.stages.I`` the sums,
    ``backbone.norms.I`` normalized, ``backbone.activations.I`` activated.

    Args:
        depth: Layers with weights, 6n + 4, shortcuts not counted.
        width: Factor of the stages' channels, a whole number.
        norm_cfg: Config of the norms, a batch norm; ``None`` for
            ``dict(type='BN')``.
        out_indices: Which maps to return.
        preact: Whether maps 0 to 2 are normalized.
        init_cfg: mmengine's initialization config; ``None`` for the papers':
            Kaiming by the fan-out, norms 1 and 0.

    Raises:
        ConfigError: An argument is none of those named.
    """

    def __init__(
        self,
        depth: int,
        width: int,
        norm_cfg: dict[str, Any] | None = None,
        out_indices: Sequence[int] = (3,),
        preact: bool = False,
        init_cfg: InitConfig = None,
    ) -> None:
        check_depth(depth, offset=4)
        check_number('model.backbone.width', width, least=1, whole=True)
        norm = norm_config(norm_cfg)
        channels = (16, 16 * width, 32 * width, 64 * width)
        stages = [
            ResLayer(
                BasicBlock,
                (depth - 4) // 6,
                channels[i],
                channels[i + 1],
                expansion=1,
                stride=1 if i == 0 else 2,
                norm_cfg=norm,
            )
            for i in range(3)
        ]
        norms = [_take_opening(stage[0]) for stage in stages[1:]]
        norms.append(build_norm_layer(norm, channels[-1])[1])
        super().__init__(
            [nn.Conv2d(3, channels[0], 3, padding=1, bias=False)],
            stages,
            [nn.ReLU() for _ in stages],
            [],
            (*channels[1:], channels[-1]),
            out_indices=out_indices,
            preact=preact,
            init_cfg=init_cfg or list(KAIMING),
        )
        self.norms = nn.ModuleList(norms)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the maps named by ``out_indices``.

        Args:
            x: Images, (B, 3, H, W), normalized.

        Returns:
            The maps, each (B, C, h, w).
        """
        x = self.stem(x)
        maps = []
        for stage, norm, activation in zip(
            self.stages, self.norms, self.activations, strict=True
        ):
            total = stage(x)
            normalized = norm(total)
            x = activation(normalized)
            maps.append(normalized if self.preact else total)
        return self._select([*maps, x])


def _take_opening(block: BasicBlock) -> nn.Module:
    """Take the norm and ReLU off the head of a block; return the norm."""
    if not hasattr(block, 'bn1'):
        raise ConfigError(
            "mmrazor's blocks know no norm but batch norms",
            where='model.backbone.norm_cfg',
            got=block.norm_cfg,
            allowed="dict(type='BN') or another batch norm",
        )
    norm: nn.Module = block.bn1
    block.bn1 = nn.Identity()
    block.relu1 = nn.Identity()
    return norm
