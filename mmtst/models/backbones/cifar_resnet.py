"""Build the ResNets for CIFAR, of usual and of fourfold width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule
from mmpretrain.models.backbones.resnet import BasicBlock, ResLayer
from torch import Tensor, nn

from mmtst.models.backbones.cifar_backbone import (
    KAIMING,
    CIFARBackbone,
    InitConfig,
    check_depth,
    join_blocks,
    norm_config,
)
from mmtst.registry import MODELS
from mmtst.utils.errors import ConfigError

# Of the stem and of the three stages. "x4" widens the stem only twice.
CHANNELS = {1: (16, 16, 32, 64), 4: (32, 64, 128, 256)}


@MODELS.register_module()
class CIFARResNet(CIFARBackbone):
    """Build ResNet-20, -32, -56, -110 and their kin, ResNet-8x4, -32x4.

    He et al. 2016, section 4.2 (https://arxiv.org/abs/1512.03385): a 3x3 stem
    and three stages of (depth - 2) / 6 basic blocks, at any depth. As in
    CRD's tables, shortcuts whose shape changes are 1x1 convolutions with a
    norm, where He et al. pad with zeros.

    mmpretrain's ``ResNet_CIFAR`` has other depths and four stages of up to
    512 channels; its blocks serve here. The "ResNet50" of the same tables is
    that network (depth 50, ``zero_init_residual=False``), not one of these.

    ===== ============================= ==================== =========
    index map                           channels (width 4)   of 32 x 32
    ===== ============================= ==================== =========
    0     stage 1                       16 (64)              32 x 32
    1     stage 2                       32 (128)             16 x 16
    2     stage 3                       64 (256)             8 x 8
    3     stage 3 after its activation  64 (256)             8 x 8
    ===== ============================= ==================== =========

    Index 3 differs from 2 only with ``preact``. FitNets' hint in CRD's tables
    is index 1; AT takes 0 to 2.

    Args:
        depth: Layers with weights, 6n + 2: the tables have 8, 14, 20, 32, 44,
            56 and 110.
        width: 1, or 4 for the networks named "x4".
        norm_cfg: Config of the norms; ``None`` for ``dict(type='BN')``.
        out_indices: Which maps to return.
        preact: Whether maps 0 to 2 are the sums before their ReLU.
        init_cfg: mmengine's initialization config; ``None`` for the papers':
            Kaiming by the fan-out, norms 1 and 0.

    Raises:
        ConfigError: An argument is none of those named.
    """

    def __init__(
        self,
        depth: int,
        width: int = 1,
        norm_cfg: dict[str, Any] | None = None,
        out_indices: Sequence[int] = (3,),
        preact: bool = False,
        init_cfg: InitConfig = None,
    ) -> None:
        check_depth(depth, offset=2)
        if type(width) is not int or width not in CHANNELS:
            raise ConfigError(
                'There is no ResNet for CIFAR of this width',
                where='model.backbone.width',
                got=width,
                allowed=', '.join(map(str, CHANNELS)),
            )
        norm = norm_config(norm_cfg)
        channels = CHANNELS[width]
        stages = [
            join_blocks(
                ResLayer(
                    ResidualSum,
                    (depth - 2) // 6,
                    channels[i],
                    channels[i + 1],
                    stride=1 if i == 0 else 2,
                    norm_cfg=norm,
                )
            )
            for i in range(3)
        ]
        super().__init__(
            [ConvModule(3, channels[0], 3, padding=1, norm_cfg=norm)],
            stages,
            [nn.ReLU() for _ in stages],
            [],
            (*channels[1:], channels[-1]),
            out_indices=out_indices,
            preact=preact,
            init_cfg=init_cfg or list(KAIMING),
        )


class ResidualSum(BasicBlock):  # type: ignore[misc]
    """Apply mmpretrain's basic block, but for the ReLU at its end."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the sum of branch and shortcut."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.norm1(self.conv1(x)))
        branch: Tensor = self.norm2(self.conv2(x))
        return branch + shortcut
