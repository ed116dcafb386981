"""Build the ShuffleNets for CIFAR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmpretrain.models.backbones.shufflenet_v2 import InvertedResidual
from mmpretrain.models.utils import channel_shuffle
from torch import Tensor, nn

from mmtst.models.backbones.cifar_backbone import (
    CIFARBackbone,
    InitConfig,
    join_blocks,
    norm_config,
)
from mmtst.registry import MODELS

# What torch draws where nobody asks: uniform by the fan-in, the norms 1 and 0.
TORCH_DEFAULT = (
    dict(
        type='Kaiming',
        layer='Conv2d',
        a=5**0.5,
        mode='fan_in',
        nonlinearity='leaky_relu',
        distribution='uniform',
    ),
    dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
)
BLOCKS = (4, 8, 4)
STEM = 24


@MODELS.register_module()
class CIFARShuffleNetV1(CIFARBackbone):
    """Build the ShuffleNet of three groups of CRD's tables, "ShuffleNetV1".

    Zhang et al. 2018 (https://arxiv.org/abs/1707.01083), as the tables have
    it: a 1x1 stem of stride 1 without pooling, channels shuffled before the
    3x3 convolution, a ReLU after it, bottlenecks of a quarter of what the
    branch (not the block) gives. mmpretrain's ``ShuffleNetV1`` differs in all
    four.

    ===== ============================= ======== ==========
    index map                           channels of 32 x 32
    ===== ============================= ======== ==========
    0     stage 1                       240      16 x 16
    1     stage 2                       480      8 x 8
    2     stage 3                       960      4 x 4
    3     stage 3 after its activation  960      4 x 4
    ===== ============================= ======== ==========

    Index 3 differs from 2 only with ``preact``.

    Args:
        norm_cfg: Config of the norms; ``None`` for ``dict(type='BN')``.
        out_indices: Which maps to return.
        preact: Whether maps 0 to 2 are those before their ReLU.
        init_cfg: mmengine's initialization config; ``None`` for the tables':
            torch's own.

    Raises:
        ConfigError: ``out_indices`` or ``preact`` is none of those named.
    """

    def __init__(
        self,
        norm_cfg: dict[str, Any] | None = None,
        out_indices: Sequence[int] = (3,),
        preact: bool = False,
        init_cfg: InitConfig = None,
    ) -> None:
        norm = norm_config(norm_cfg)
        channels = (STEM, 240, 480, 960)
        stages = []
        for i, count in enumerate(BLOCKS):
            inputs, outputs = channels[i : i + 2]
            blocks = [ShuffleUnit(inputs, outputs, norm)]
            blocks += [
                ShuffleUnit(outputs, outputs, norm) for _ in range(count - 1)
            ]
            stages.append(join_blocks(blocks))
        super().__init__(
            [ConvModule(3, STEM, 1, norm_cfg=norm)],
            stages,
            [nn.ReLU() for _ in stages],
            [],
            (*channels[1:], channels[-1]),
            out_indices=out_indices,
            preact=preact,
            init_cfg=init_cfg or list(TORCH_DEFAULT),
        )


@MODELS.register_module()
class CIFARShuffleNetV2(CIFARBackbone):
    """Build the ShuffleNetV2 of size 1 of CRD's tables.

    Ma et al. 2018 (https://arxiv.org/abs/1807.11164), with a 1x1 stem of
    stride 1 without pooling. The blocks are those of mmpretrain's
    ``ShuffleNetV2``, whose stem is made for large images and whose
    initialization is another.

    ===== ============================= ======== ==========
    index map                           channels of 32 x 32
    ===== ============================= ======== ==========
    0     stage 1                       116      16 x 16
    1     stage 2                       232      8 x 8
    2     stage 3                       464      4 x 4
    3     last 1x1 convolution          1024     4 x 4
    ===== ============================= ======== ==========

    A block passes half of its channels on as they came. With ``preact`` the
    other half, what the last block of the stage computed, is that before its
    ReLU; channels stand in the same order as without.

    Args:
        norm_cfg: Config of the norms; ``None`` for ``dict(type='BN')``.
        out_indices: Which maps to return.
        preact: Whether maps 0 to 2 are those before their ReLU.
        init_cfg: mmengine's initialization config; ``None`` for the tables':
            torch's own.

    Raises:
        ConfigError: ``out_indices`` or ``preact`` is none of those named.
    """

    def __init__(
        self,
        norm_cfg: dict[str, Any] | None = None,
        out_indices: Sequence[int] = (3,),
        preact: bool = False,
        init_cfg: InitConfig = None,
    ) -> None:
        norm = norm_config(norm_cfg)
        channels = (STEM, 116, 232, 464, 1024)
        stages = []
        for i, count in enumerate(BLOCKS):
            inputs, outputs = channels[i : i + 2]
            blocks = [InvertedResidual(inputs, outputs, 2, norm_cfg=norm)]
            blocks += [
                InvertedResidual(outputs, outputs, 1, norm_cfg=norm)
                for _ in range(count - 1)
            ]
            # The stage's own ReLU takes its place. The half that is passed on
            # is not negative: a further ReLU leaves it as it is.
            blocks[-1].branch2[-1].with_activation = False
            stages.append(nn.Sequential(*blocks))
        super().__init__(
            [ConvModule(3, STEM, 1, norm_cfg=norm)],
            stages,
            [nn.ReLU() for _ in stages],
            [ConvModule(channels[-2], channels[-1], 1, norm_cfg=norm)],
            channels[1:],
            out_indices=out_indices,
            preact=preact,
            init_cfg=init_cfg or list(TORCH_DEFAULT),
        )


class ShuffleUnit(nn.Module):
    """Apply a block of ShuffleNetV1, but for the ReLU at its end.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output. More than ``inputs``: the map is
            halved, and the pooled input makes up the last ``inputs`` of them.
            As many: the input is added.
        norm_cfg: Config of the norms.
    """

    groups = 3

    def __init__(
        self, inputs: int, outputs: int, norm_cfg: dict[str, Any]
    ) -> None:
        super().__init__()
        self.halves = outputs != inputs
        branch = outputs - inputs if self.halves else outputs
        middle = branch // 4
        # The stem's few channels are not grouped.
        self.first_groups = 1 if inputs == STEM else self.groups
        self.compress = ConvModule(
            inputs, middle, 1, groups=self.first_groups, norm_cfg=norm_cfg
        )
        self.depthwise = ConvModule(
            middle,
            middle,
            3,
            stride=2 if self.halves else 1,
            padding=1,
            groups=middle,
            norm_cfg=norm_cfg,
        )
        self.expand = ConvModule(
            middle,
            branch,
            1,
            groups=self.groups,
            norm_cfg=norm_cfg,
            act_cfg=None,
        )
        self.pool = nn.AvgPool2d(3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to the block's output before its ReLU."""
        middle = channel_shuffle(self.compress(x), self.first_groups)
        branch: Tensor = self.expand(self.depthwise(middle))
        if self.halves:
            return torch.cat([branch, self.pool(x)], dim=1)
        return x + branch
