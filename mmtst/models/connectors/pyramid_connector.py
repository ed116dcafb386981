"""Translate every level of a feature pyramid by a 1x1 convolution."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

from mmtst.registry import MODELS
from mmtst.utils.checks import check_number


@MODELS.register_module()
class PyramidConnector(BaseModule):  # type: ignore[misc]
    """Apply one 1x1 convolution with bias to each level.

    mmrazor's connectors take one tensor; a neck gives several, and one
    mapping for each would repeat itself in the config.

    Args:
        in_channels: Channels of the student's levels.
        out_channels: Channels of the teacher's levels.
        num_levels: Number of levels.
        init_cfg: mmengine's initialization config.

    Raises:
        ConfigError: One of them is no count.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_levels: int = 5,
        init_cfg: dict[str, object] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        for name, count in (
            ('in_channels', in_channels),
            ('out_channels', out_channels),
            ('num_levels', num_levels),
        ):
            check_number(f'connectors.*.{name}', count, least=1, whole=True)
        self.convs = ModuleList(
            nn.Conv2d(in_channels, out_channels, 1) for _ in range(num_levels)
        )

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Translate (B, in_channels, H, W) tensors, one for each level.

        Returns:
            As many tensors (B, out_channels, H, W).

        Raises:
            ValueError: The number of levels is another.
        """
        if len(features) != len(self.convs):
            raise ValueError(
                f'PyramidConnector has {len(self.convs)} levels, but got '
                f'{len(features)} features; set num_levels'
            )
        return tuple(
            conv(x) for conv, x in zip(self.convs, features, strict=True)
        )
