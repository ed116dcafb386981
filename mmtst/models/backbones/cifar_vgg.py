"""Build the VGG networks for CIFAR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import build_norm_layer
from torch import nn

from mmtst.models.backbones.cifar_backbone import (
    KAIMING,
    CIFARBackbone,
    InitConfig,
    norm_config,
)
from mmtst.registry import MODELS
from mmtst.utils.errors import ConfigError

CHANNELS = (64, 128, 256, 512, 512)
# Convolutions of each stage; a linear head and, in name only, the two hidden
# layers that this form leaves out make up the depth.
BLOCKS = {
    8: (1, 1, 1, 1, 1),
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}


@MODELS.register_module()
class CIFARVGG(CIFARBackbone):
    """Build VGG-8, -11, -13, -16 or -19 with norms.

    Simonyan and Zisserman 2015 (https://arxiv.org/abs/1409.1556), VGG-8 with
    one convolution in each stage; in the form of CRD's tables: convolutions
    keep their biases beside the norms, maximum pooling halves the maps before
    stages 2, 3 and 4 only, and the last map is pooled by its mean for one
    linear layer.

    mmpretrain's ``VGG`` has no depth 8 and pools after every stage, so that
    its last convolutions see 2 x 2 where these see 4 x 4.

    ===== ============================= ======== ==========
    index map                           channels of 32 x 32
    ===== ============================= ======== ==========
    0     stage 1                       64       32 x 32
    1     stage 2                       128      16 x 16
    2     stage 3                       256      8 x 8
    3     stage 4                       512      4 x 4
    4     stage 5                       512      4 x 4
    5     stage 5 after its activation  512      4 x 4
    ===== ============================= ======== ==========

    Maps are those before pooling. Index 5 differs from 4 only with
    ``preact``. CRD's tables count stage 1 as the stem: FitNets' hint is index
    2, AT takes 1 to 4, ReviewKD 1 to 5.

    Args:
        depth: 8, 11, 13, 16 or 19.
        norm_cfg: Config of the norms; ``None`` for ``dict(type='BN')``.
        out_indices: Which maps to return.
        preact: Whether maps 0 to 4 are those before their ReLU.
        init_cfg: mmengine's initialization config; ``None`` for the papers':
            Kaiming by the fan-out, norms 1 and 0.

    Raises:
        ConfigError: An argument is none of those named.
    """

    def __init__(
        self,
        depth: int,
        norm_cfg: dict[str, Any] | None = None,
        out_indices: Sequence[int] = (5,),
        preact: bool = False,
        init_cfg: InitConfig = None,
    ) -> None:
        if type(depth) is not int or depth not in BLOCKS:
            raise ConfigError(
                'There is no VGG of this depth',
                where='model.backbone.depth',
                got=depth,
                allowed=', '.join(map(str, BLOCKS)),
            )
        norm = norm_config(norm_cfg)
        stages = [
            _make_stage(inputs, outputs, count, norm)
            for inputs, outputs, count in zip(
                (3, *CHANNELS), CHANNELS, BLOCKS[depth], strict=False
            )
        ]
        for stage in stages[1:4]:
            stage.insert(0, nn.MaxPool2d(2))
        super().__init__(
            [],
            stages,
            [nn.ReLU() for _ in stages],
            [],
            (*CHANNELS, CHANNELS[-1]),
            out_indices=out_indices,
            preact=preact,
            init_cfg=init_cfg or list(KAIMING),
        )


def _make_stage(
    inputs: int, outputs: int, count: int, norm_cfg: dict[str, Any]
) -> nn.Sequential:
    """Chain convolutions, norms and ReLUs, without the last ReLU.

    Not of mmcv's ``ConvModule``, which warns of each bias beside a norm.
    """
    layers: list[nn.Module] = []
    for i in range(count):
        channels = inputs if i == 0 else outputs
        layers += [
            nn.Conv2d(channels, outputs, 3, padding=1),
            build_norm_layer(norm_cfg, outputs)[1],
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers[:-1])
