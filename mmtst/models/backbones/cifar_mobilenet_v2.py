"""Build the MobileNetV2 for CIFAR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule
from mmpretrain.models.backbones.mobilenet_v2 import InvertedResidual
from torch import nn

from mmtst.models.backbones.cifar_backbone import (
    KAIMING,
    CIFARBackbone,
    InitConfig,
    norm_config,
)
from mmtst.registry import MODELS
from mmtst.utils.checks import check_number

# Expansion, channels, blocks and stride of each row of the paper's table 2,
# gathered in stages of one size; the second row's stride is 1 here, not 2.
STAGES = (
    ((1, 16, 1, 1), (6, 24, 2, 1)),
    ((6, 32, 3, 2),),
    ((6, 64, 4, 2), (6, 96, 3, 1)),
    ((6, 160, 3, 2), (6, 320, 1, 1)),
)
RELU = dict(type='ReLU')


@MODELS.register_module()
class CIFARMobileNetV2(CIFARBackbone):
    """Build the MobileNetV2 of half width of CRD's tables.

    Sandler et al. 2018 (https://arxiv.org/abs/1801.04381), with what the
    tables do otherwise: the second row of blocks keeps the size, ReLU takes
    the place of ReLU6, the very first block has an expanding convolution too
    (of factor 1), and channels are cut to whole numbers, not rounded to
    multiples of eight. Built of the blocks of mmpretrain's ``MobileNetV2``,
    which differs in all four.

    ===== ============================= ================== ==========
    index map                           channels (width w) of 32 x 32
    ===== ============================= ================== ==========
    0     blocks of 24 channels         12 (24w)           16 x 16
    1     blocks of 32 channels         16 (32w)           8 x 8
    2     blocks of 96 channels         48 (96w)           4 x 4
    3     block of 320 channels         160 (320w)         2 x 2
    4     last 1x1 convolution          1280               2 x 2
    ===== ============================= ================== ==========

    Maps 0 to 3 are linear bottlenecks: no activation follows them, so there
    is no ``preact`` to choose. Map 4 is activated.

    Args:
        width: Factor of the channels; those of map 4 only grow, never shrink.
        norm_cfg: Config of the norms; ``None`` for ``dict(type='BN')``.
        out_indices: Which maps to return.
        init_cfg: mmengine's initialization config; ``None`` for the tables':
            Kaiming by the fan-out, norms 1 and 0.

    Raises:
        ConfigError: ``width`` leaves some layer without channels, or
            ``out_indices`` are none of those named.
    """

    def __init__(
        self,
        width: float = 0.5,
        norm_cfg: dict[str, Any] | None = None,
        out_indices: Sequence[int] = (4,),
        init_cfg: InitConfig = None,
    ) -> None:
        check_number('model.backbone.width', width, least=1 / 16)
        norm = norm_config(norm_cfg)
        stem = channels = int(32 * width)
        stages = []
        for rows in STAGES:
            blocks = []
            for expansion, full, count, stride in rows:
                outputs = int(full * width)
                for i in range(count):
                    step = stride if i == 0 else 1
                    blocks.append(
                        _make_block(channels, outputs, step, expansion, norm)
                    )
                    channels = outputs
            stages.append(nn.Sequential(*blocks))
        last = int(1280 * max(width, 1))
        super().__init__(
            [ConvModule(3, stem, 3, stride=2, padding=1, norm_cfg=norm)],
            stages,
            [nn.Identity() for _ in stages],
            [ConvModule(channels, last, 1, norm_cfg=norm)],
            [int(rows[-1][1] * width) for rows in STAGES] + [last],
            out_indices=out_indices,
            init_cfg=init_cfg or list(KAIMING),
        )


def _make_block(
    inputs: int,
    outputs: int,
    stride: int,
    expansion: int,
    norm_cfg: dict[str, Any],
) -> InvertedResidual:
    """Build a block that has its first convolution whatever the expansion."""
    block = InvertedResidual(
        inputs, outputs, stride, expansion, norm_cfg=norm_cfg, act_cfg=RELU
    )
    if expansion == 1:  # mmpretrain leaves it out.
        expand = ConvModule(inputs, inputs, 1, norm_cfg=norm_cfg)
        block.conv.insert(0, expand)
    return block
