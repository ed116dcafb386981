"""Translate a hint, one map of the student, into the teacher's (FitNet)."""

from __future__ import annotations

from typing import Any

from mmrazor.models.architectures.connectors import ConvModuleConnector

from mmtst.registry import MODELS


@MODELS.register_module()
class HintConnector(ConvModuleConnector):  # type: ignore[misc]
    """Apply mmrazor's ``ConvModuleConnector``, initialized as torch's layers.

    FitNets (Romero et al., ICLR 2015, https://arxiv.org/abs/1412.6550) learn a
    regressor from the student's hint to the teacher's. In CRD's tables it is a
    plain convolution of torch, whose weights are uniform with variance
    1 / (3 fan_in). mmcv's ``ConvModule``, which mmrazor's connector holds,
    draws normal weights of variance 2 / fan_out, six times that where both
    sides have as many channels.

    Args:
        in_channel: Channels of the student's map.
        out_channel: The teacher's.
        init_cfg: mmengine's initialization config; ``None`` for torch's own.
        options: Of ``ConvModuleConnector``: ``kernel_size``, ``stride``,
            ``padding``, ``conv_cfg``, ``norm_cfg`` and others.
    """

    def __init__(
        self,
        in_channel: int,
        out_channel: int,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(in_channel, out_channel, init_cfg=init_cfg, **options)
        self.conv_module.conv.reset_parameters()
        # Or init_weights() would have it initialize itself once more, after
        # init_cfg.
        self.conv_module.is_init = True
