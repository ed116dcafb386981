"""Build tiny segmentors and batches for tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor

from mmtst.models.build import resolve_model_cfg

PSPNET = 'mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py'
DEEPLABV3PLUS = (
    'mmseg::deeplabv3plus/deeplabv3plus_r18-d8_4xb2-80k_cityscapes-512x1024.py'
)
UPERNET = 'mmseg::upernet/upernet_r18_4xb2-40k_cityscapes-512x1024.py'
SEGFORMER = (
    'mmseg::segformer/segformer_mit-b0_8xb1-160k_cityscapes-1024x1024.py'
)
POINT_REND = 'mmseg::point_rend/pointrend_r50_4xb2-80k_cityscapes-512x1024.py'


def tiny_segmentor(
    cfg_path: str = PSPNET,
    base_channels: int = 8,
    channels: int = 8,
    num_classes: int = 4,
    size: tuple[int, int] = (64, 96),
) -> dict[str, Any]:
    """Return a reference to a narrow segmentor, to be trained from scratch.

    Args:
        cfg_path: What is narrowed: an ``EncoderDecoder`` with a ResNet or a
            MixVisionTransformer and heads (or an FPN) on its stages. A ResNet
            becomes a ResNet-18; SyncBN becomes BN.
        base_channels: Width of the backbone's first stage; even.
        channels: Width of the neck and the heads.
        num_classes: Number of classes.
        size: (height, width) that the data preprocessor pads to.

    Returns:
        ``dict(cfg_path=..., cfg_options=...)``.
    """
    model = resolve_model_cfg(dict(cfg_path=cfg_path), 'tiny_segmentor')
    backbone, widths = _narrow_backbone(model.backbone, base_channels)
    options: dict[str, Any] = dict(
        pretrained=None,
        data_preprocessor=dict(size=size),
        backbone=backbone,
    )
    if model.get('neck') is not None:
        options['neck'] = dict(in_channels=widths, out_channels=channels)
        widths = [channels] * len(widths)
    for name in ('decode_head', 'auxiliary_head'):
        heads = model.get(name)
        if isinstance(heads, Mapping):
            options[name] = _narrow_head(heads, widths, channels, num_classes)
        elif heads is not None:
            options[name] = {
                str(i): _narrow_head(head, widths, channels, num_classes)
                for i, head in enumerate(heads)
            }
    return dict(cfg_path=cfg_path, cfg_options=options)


def _narrow_backbone(
    backbone: Mapping[str, Any], base_channels: int
) -> tuple[dict[str, Any], list[int]]:
    """Return what narrows a backbone, and the widths of its stages."""
    if backbone['type'] == 'MixVisionTransformer':
        heads = list(backbone['num_heads'])
        narrow = dict(
            embed_dims=base_channels, num_layers=[1] * 4, init_cfg=None
        )
        return narrow, [base_channels * number for number in heads]
    narrow = dict(
        depth=18,
        base_channels=base_channels,
        stem_channels=base_channels,
        norm_cfg=dict(type='BN', requires_grad=True),
        init_cfg=None,
    )
    return narrow, [base_channels * 2**stage for stage in range(4)]


def _narrow_head(
    head: Mapping[str, Any],
    widths: list[int],
    channels: int,
    num_classes: int,
) -> dict[str, Any]:
    """Return what narrows a head on stages of the given widths."""
    index = head.get('in_index', -1)
    if isinstance(index, int):
        inputs: Any = widths[index]
    else:
        inputs = [widths[i] for i in index]
    narrow = dict(
        in_channels=inputs, channels=channels, num_classes=num_classes
    )
    if 'norm_cfg' in head:
        narrow['norm_cfg'] = dict(type='BN', requires_grad=True)
    if 'c1_in_channels' in head:  # DeepLabV3+
        narrow.update(c1_in_channels=widths[0], c1_channels=channels)
    if 'fc_channels' in head:  # PointRend
        narrow.update(fc_channels=channels)
    return narrow


def segmentation_batch(
    batch: int = 2,
    size: tuple[int, int] = (64, 96),
    num_classes: int = 4,
    ignore_rows: int = 8,
    ignore_index: int = 255,
    seed: int = 0,
) -> tuple[Tensor, list[SegDataSample]]:
    """Return normalised random images with their label maps.

    Each image is a map of 16 x 16 patches of one class, and tells the class
    by its brightness, with smooth noise upon it.

    Args:
        batch: Number of images.
        size: (height, width), multiples of 16.
        num_classes: Number of classes.
        ignore_rows: How many rows at the bottom are to be ignored; all of
            them where it is the height.
        ignore_index: Their label.
        seed: Of images and labels.

    Returns:
        (batch, 3, height, width) float32 images, and samples whose
        ``gt_sem_seg.data`` is (1, height, width), long.
    """
    generator = torch.Generator().manual_seed(seed)
    height, width = size
    patches = torch.randint(
        num_classes, (batch, 1, height // 16, width // 16), generator=generator
    )
    labels = patches.repeat_interleave(16, dim=2).repeat_interleave(16, dim=3)
    noise = torch.randn(batch, 3, height // 8, width // 8, generator=generator)
    smooth = F.interpolate(
        noise, size=size, mode='bicubic', align_corners=False
    )
    images = 2 * labels / max(num_classes - 1, 1) - 1 + 0.3 * smooth
    if ignore_rows:
        labels[:, :, -ignore_rows:] = ignore_index
    samples = []
    for label in labels:
        sample = SegDataSample(
            metainfo=dict(
                img_shape=size,
                ori_shape=size,
                pad_shape=size,
                batch_input_shape=size,
                scale_factor=(1.0, 1.0),
                reduce_zero_label=False,
            )
        )
        sample.gt_sem_seg = PixelData(data=label.clone())
        samples.append(sample)
    return images, samples
