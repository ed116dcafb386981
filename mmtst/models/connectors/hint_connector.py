"""Translate a hint, one map of the student, into the teacher's (FitNet)."""

from __future__ import annotations

from typing import Any

from mmrazor.models.architectures.connectors import ConvModuleConnector

from mmtst.registry import MODELS
from mmtst.utils.checks import check_number
from mmtst.utils.errors import ConfigError

_RELU = dict(type='ReLU')
# Smallest of what counts or measures.
_LEAST = dict(kernel_size=1, stride=1, padding=0, dilation=1, groups=1)


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
        act_cfg: Activation layer; ``None`` for none.
        options: Of ``ConvModuleConnector``: ``kernel_size``, ``stride``,
            ``padding``, ``conv_cfg``, ``norm_cfg`` and others.

    Raises:
        ConfigError: An option is out of range, or mmcv's ``ConvModule``
            cannot be built of it.
    """

    def __init__(
        self,
        in_channel: int,
        out_channel: int,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
        act_cfg: dict[str, Any] | None = _RELU,
        **options: Any,
    ) -> None:
        where = 'connectors.*'
        for name, value in dict(
            in_channel=in_channel, out_channel=out_channel
        ).items():
            check_number(f'{where}.{name}', value, least=1, whole=True)
        for name, least in _LEAST.items():
            value = options.get(name, least)
            pair = isinstance(value, (list, tuple)) and len(value) == 2
            sides = value if pair else [value]
            for side in sides:
                check_number(f'{where}.{name}', side, least=least, whole=True)
        try:
            super().__init__(
                in_channel,
                out_channel,
                init_cfg=init_cfg,
                act_cfg=act_cfg,
                **options,
            )
        # What mmcv, mmengine and torch refuse options with.
        except (
            AssertionError,
            AttributeError,
            KeyError,
            RuntimeError,
            TypeError,
            ValueError,
        ) as error:
            raise ConfigError(
                'mmcv cannot build the convolution of HintConnector: '
                f'{type(error).__name__}: {error}',
                where=where,
                got=dict(options, act_cfg=act_cfg),
            ) from error
        self.conv_module.conv.reset_parameters()
        # Or init_weights() would have it initialize itself once more, after
        # init_cfg.
        self.conv_module.is_init = True
