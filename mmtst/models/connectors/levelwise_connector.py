"""Translate every level of a feature pyramid by a connector of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseModule, ModuleList
from torch import Tensor

from mmtst.registry import MODELS
from mmtst.utils.checks import check_number


@MODELS.register_module()
class LevelwiseConnector(BaseModule):  # type: ignore[misc]
    """Apply one connector of mmrazor to each level.

    mmrazor's connectors take one tensor. This one builds the same connector
    for every level, each with its own weights, from one config, as MGD's
    generation layers need it. For a plain 1x1 convolution take
    :class:`PyramidConnector`.

    Args:
        connector: Config of the connector of one level, for example
            ``dict(type='mmrazor.MGDConnector', student_channels=256,
            teacher_channels=256)``.
        num_levels: How many levels are translated, from the finest; further
            ones are left out.
        init_cfg: mmengine's initialization config.

    Raises:
        ConfigError: ``num_levels`` is no count.
    """

    def __init__(
        self,
        connector: dict[str, Any],
        num_levels: int = 5,
        init_cfg: dict[str, object] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        check_number(
            'connectors.*.num_levels', num_levels, least=1, whole=True
        )
        self.levels = ModuleList(
            MODELS.build_checked(connector, 'connectors.*.connector')
            for _ in range(num_levels)
        )

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Translate (B, C, H, W) tensors, one for each level.

        Returns:
            ``num_levels`` tensors, of the channels that the connectors give.

        Raises:
            ValueError: There are fewer features than levels.
        """
        if len(features) < len(self.levels):
            raise ValueError(
                f'LevelwiseConnector has {len(self.levels)} levels, but got '
                f'{len(features)} features; set num_levels'
            )
        return tuple(
            level(x) for level, x in zip(self.levels, features, strict=False)
        )
