"""MobileNetV1, which mmpretrain has not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from mmengine.model import Sequential
from mmpretrain.models.backbones.base_backbone import BaseBackbone
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from mmtst.models.backbones.cifar_backbone import (
    check_indices,
    norm_config,
)
from mmtst.registry import MODELS
from mmtst.utils.checks import check_number

# Output channels of the blocks of each stage. All but the first stage begin
# with a stride of 2.
_STAGES = ((64,), (128, 128), (256, 256), (512,) * 6, (1024, 1024))
_STEM = 32


@MODELS.register_module()
class MobileNetV1(BaseBackbone):  # type: ignore[misc]
    """Stack depthwise separable convolutions, 13 of them.

    MobileNets (Howard et al., 2017), Table 1: a 3 x 3 convolution of stride
    2, then blocks of a depthwise 3 x 3 and a pointwise convolution, each with
    batch norm and ReLU. With 1,000 classes 4,231,976 parameters. Its last map
    goes to mmpretrain's ``GlobalAveragePooling`` and ``LinearClsHead``.

    ======  =========  ==========
    index   channels   of 224 px
    ======  =========  ==========
    0       64         112
    1       128        56
    2       256        28
    3       512        14
    4       1024       7
    ======  =========  ==========

    Args:
        width: Factor on all channels, from 1/32 (the paper's alpha).
        out_indices: Which stages' maps are returned, 0 to 4.
        norm_cfg: Of the normalization.
        norm_eval: Whether batch norm keeps its statistics in training.
        init_cfg: mmengine's; by default Kaiming's for convolutions.

    Raises:
        ConfigError: ``width`` or ``out_indices`` is out of range.
    """

    def __init__(
        self,
        width: float = 1.0,
        out_indices: Sequence[int] = (4,),
        norm_cfg: dict[str, Any] | None = None,
        norm_eval: bool = False,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        if init_cfg is None:
            init_cfg = [
                dict(type='Kaiming', layer='Conv2d'),
                dict(type='Constant', val=1, layer='BatchNorm2d'),
            ]
        super().__init__(init_cfg)
        check_number('model.backbone.width', width, least=1 / 32)
        check_indices(out_indices, len(_STAGES))
        self.out_indices = tuple(out_indices)
        self.norm_eval = norm_eval
        norm_cfg = norm_config(norm_cfg)
        channels = int(_STEM * width)
        self.stem = ConvModule(
            3, channels, 3, stride=2, padding=1, norm_cfg=norm_cfg
        )
        self.stages: list[str] = []
        for number, blocks in enumerate(_STAGES):
            layers = []
            for place, outputs in enumerate(blocks):
                layers.append(
                    DepthwiseSeparableConvModule(
                        channels,
                        int(outputs * width),
                        3,
                        stride=2 if number and place == 0 else 1,
                        padding=1,
                        norm_cfg=norm_cfg,
                    )
                )
                channels = int(outputs * width)
            name = f'layer{number + 1}'
            self.add_module(name, Sequential(*layers))
            self.stages.append(name)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the maps.

        Args:
            x: Images, (B, 3, H, W), normalized.

        Returns:
            The maps named by ``out_indices``, after their activations, each
            (B, C, h, w).
        """
        x = self.stem(x)
        maps = []
        for number, name in enumerate(self.stages):
            x = getattr(self, name)(x)
            if number in self.out_indices:
                maps.append(x)
        return tuple(maps)

    def train(self, mode: bool = True) -> MobileNetV1:
        """Set the mode, of all but batch norm under ``norm_eval``."""
        super().train(mode)
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self
