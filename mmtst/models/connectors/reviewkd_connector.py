"""Review a student's stages from the last to the first (ReviewKD)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmtst.registry import MODELS
from mmtst.utils.checks import check_flag, check_number
from mmtst.utils.errors import ConfigError

_WHERE = 'connectors.*'


@MODELS.register_module()
class ReviewKDConnector(BaseModule):  # type: ignore[misc]
    """Fuse the stages of a student, so that each has seen the later ones.

    Chen et al., CVPR 2021, https://arxiv.org/abs/2104.09044: the review
    mechanism with attention-based fusion (ABF). From the last level to the
    first, with X the level's features, brought to ``mid_channels`` by a 1x1
    convolution, and R what came of the level after it, enlarged by nearest
    neighbors:

    .. code-block:: text

        (a, b) = sigmoid(conv1x1([X, R]))     two maps, H x W
        R'     = a X + b R                    the last level has R' = X
        output = conv3x3(R')                  of the teacher's channels

    Both convolutions around the fusion are followed by batch normalization.
    Their weights start uniform with variance 1 / fan_in, as the authors' do,
    those of the attention as torch has them. A single value for each channel,
    as of the pooled level of one image, has no variance: it is normalized by
    the running moments, where a batch norm would end the training.

    The outputs are compared with the teacher's stages by a ``ReviewKDLoss``.

    Args:
        in_channels: Channels of the student's levels, from the finest; the
            last is the pooled level's, where there is one.
        out_channels: The teacher's, as many.
        mid_channels: Width of the fusion; by default that of the student's
            last level, at most 512.
        pooled: Whether the average of the last map that is given is one more
            level, 1 x 1: the vector before the classifier. The loss has to
            say the same.
        out_sizes: Height and width of the teacher's levels, in cells, where
            they are not the student's; ``R'`` is enlarged to them, by
            nearest neighbors. An entry ``None`` keeps a level's size.
        init_cfg: mmengine's initialization config; ``None`` for the above.

    Raises:
        ConfigError: An option is no count, or the lists differ in length.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: Sequence[int],
        mid_channels: int | None = None,
        pooled: bool = True,
        out_sizes: Sequence[int | None] | None = None,
        init_cfg: dict[str, object] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        check_flag(f'{_WHERE}.pooled', pooled)
        sizes = [None] * len(in_channels) if out_sizes is None else out_sizes
        _check_lists(in_channels, out_channels, sizes, 2 if pooled else 1)
        width = min(512, in_channels[-1])
        if mid_channels is not None:
            check_number(
                f'{_WHERE}.mid_channels', mid_channels, least=1, whole=True
            )
            width = mid_channels
        self.pooled = pooled
        self.out_sizes = list(sizes)
        plain = dict(norm_cfg=dict(type='BN'), act_cfg=None)
        # torch's containers on purpose: through mmengine's, mmcv's modules
        # would initialize themselves after init_cfg.
        self.reduce = nn.ModuleList(
            ConvModule(channels, width, 1, **plain) for channels in in_channels
        )
        # The last level has nothing to fuse with.
        self.attend = nn.ModuleList(
            nn.Conv2d(2 * width, 2, 1) for _ in in_channels[1:]
        )
        self.project = nn.ModuleList(
            ConvModule(width, channels, 3, padding=1, **plain)
            for channels in out_channels
        )
        for block in (*self.reduce, *self.project):
            nn.init.kaiming_uniform_(block.conv.weight, a=1)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Review the stages of a backbone.

        Args:
            features: (B, in_channels, H, W) for each stage, from the finest;
                without the pooled level, which is the average of the last of
                them. Stages between the levels and that last are left out.

        Returns:
            (B, out_channels, H, W) for each level, from the finest.

        Raises:
            ValueError: There are fewer features than levels.
        """
        number = len(self.reduce) - self.pooled
        if len(features) < number:
            raise ValueError(
                f'ReviewKDConnector has {number} levels of maps, but got '
                f'{len(features)} features; set out_indices of the backbone '
                'or in_channels'
            )
        levels = list(features[:number])
        if self.pooled:
            levels.append(F.adaptive_avg_pool2d(features[-1], 1))
        outputs: list[Tensor] = []
        reviewed: Tensor | None = None
        for index in reversed(range(len(levels))):
            reviewed = self._fuse(index, levels[index], reviewed)
            size = self.out_sizes[index]
            sized = (
                reviewed
                if size is None
                else F.interpolate(reviewed, (size, size), mode='nearest')
            )
            outputs.insert(0, _normalized(self.project[index], sized))
        return tuple(outputs)

    def _fuse(
        self, index: int, features: Tensor, reviewed: Tensor | None
    ) -> Tensor:
        """Fuse a level with what was reviewed; (B, mid_channels, H, W)."""
        reduced = _normalized(self.reduce[index], features)
        if reviewed is None:
            return reduced
        size = reduced.shape[-2:]
        enlarged = F.interpolate(reviewed, size, mode='nearest')
        both = torch.cat([reduced, enlarged], dim=1)
        attention: Tensor = self.attend[index](both).sigmoid()
        return attention[:, :1] * reduced + attention[:, 1:] * enlarged


def _normalized(block: ConvModule, features: Tensor) -> Tensor:
    """Apply convolution and norm to (B, C, H, W), B H W of one included."""
    norm = block.norm
    several = features[:, 0].numel() > 1
    # A synchronized norm has the values of other processes too.
    if several or not norm.training or type(norm) is not nn.BatchNorm2d:
        output: Tensor = block(features)
        return output
    return F.batch_norm(
        block.conv(features),
        norm.running_mean,
        norm.running_var,
        norm.weight,
        norm.bias,
        eps=norm.eps,
    )


def _check_lists(
    in_channels: Sequence[int],
    out_channels: Sequence[int],
    out_sizes: Sequence[int | None],
    least: int,
) -> None:
    """Check lists with one entry for each level."""
    lengths = [len(in_channels), len(out_channels), len(out_sizes)]
    if len(set(lengths)) != 1 or lengths[0] < least:
        raise ConfigError(
            'in_channels, out_channels and out_sizes have an entry for each '
            'level, the pooled one included',
            where=f'{_WHERE}.in_channels',
            got=f'{lengths[0]}, {lengths[1]} and {lengths[2]} entries',
            allowed=f'the same number of each, {least} or more',
        )
    for name, counts in (
        ('in_channels', in_channels),
        ('out_channels', out_channels),
    ):
        for count in counts:
            check_number(f'{_WHERE}.{name}', count, least=1, whole=True)
    for size in out_sizes:
        check_number(
            f'{_WHERE}.out_sizes', size, least=1, whole=True, optional=True
        )
