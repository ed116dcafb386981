"""Build tiny detectors and batches for tests."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor, nn

RETINANET = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'
FASTER_RCNN = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
CASCADE_MASK_RCNN = 'mmdet::cascade_rcnn/cascade-mask-rcnn_r50_fpn_20e_coco.py'
YOLOX = 'mmdet::yolox/yolox_s_8xb8-300e_coco.py'
FCOS = 'mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py'


def tiny_retinanet(
    base_channels: int = 8, channels: int = 8
) -> dict[str, Any]:
    """Return a reference to a RetinaNet of some ten thousand parameters.

    Args:
        base_channels: Width of the backbone's first stage.
        channels: Width of neck and head.
    """
    widths = [base_channels * 2**i for i in range(4)]
    return dict(
        cfg_path=RETINANET,
        cfg_options=dict(
            backbone=dict(
                base_channels=base_channels,
                frozen_stages=-1,
                norm_eval=False,
                init_cfg=None,
            ),
            neck=dict(in_channels=widths, out_channels=channels),
            bbox_head=dict(
                num_classes=3,
                in_channels=channels,
                feat_channels=channels,
                stacked_convs=1,
            ),
        ),
    )


def _tiny_base(base_channels: int, channels: int) -> dict[str, Any]:
    """Return a narrow ResNet-18 from scratch and its neck."""
    widths = [base_channels * 2**i for i in range(4)]
    return dict(
        backbone=dict(
            _delete_=True,
            type='ResNet',
            depth=18,
            base_channels=base_channels,
            out_indices=(0, 1, 2, 3),
            norm_cfg=dict(type='BN', requires_grad=True),
        ),
        neck=dict(in_channels=widths, out_channels=channels),
    )


def _tiny_two_stage(base_channels: int, channels: int) -> dict[str, Any]:
    """Return what narrows any two-stage detector up to its RoI extractor."""
    return dict(
        **_tiny_base(base_channels, channels),
        rpn_head=dict(in_channels=channels, feat_channels=channels),
        roi_head=dict(bbox_roi_extractor=dict(out_channels=channels)),
        train_cfg=dict(rpn_proposal=dict(nms_pre=64, max_per_img=64)),
    )


def tiny_faster_rcnn(
    base_channels: int = 8,
    channels: int = 8,
    num_classes: int = 3,
    cfg_path: str = FASTER_RCNN,
) -> dict[str, Any]:
    """Return a reference to a narrow Faster R-CNN.

    Args:
        base_channels: Width of the backbone's first stage.
        channels: Width of neck and heads.
        num_classes: Number of classes.
        cfg_path: What is narrowed; a ``StandardRoIHead`` without masks.
    """
    options = _tiny_two_stage(base_channels, channels)
    options['roi_head']['bbox_head'] = dict(
        in_channels=channels, fc_out_channels=32, num_classes=num_classes
    )
    return dict(cfg_path=cfg_path, cfg_options=options)


def tiny_cascade_mask_rcnn(
    base_channels: int = 8,
    channels: int = 8,
    num_classes: int = 3,
    cfg_path: str = CASCADE_MASK_RCNN,
) -> dict[str, Any]:
    """Return a reference to a narrow Cascade Mask R-CNN.

    Args:
        base_channels: Width of the backbone's first stage.
        channels: Width of neck and heads.
        num_classes: Number of classes.
        cfg_path: What is narrowed; a ``CascadeRoIHead`` of three stages with
            masks.
    """
    options = _tiny_two_stage(base_channels, channels)
    options['roi_head'].update(
        bbox_head={
            str(stage): dict(
                in_channels=channels,
                fc_out_channels=32,
                num_classes=num_classes,
            )
            for stage in range(3)
        },
        mask_roi_extractor=dict(out_channels=channels),
        mask_head=dict(
            num_convs=1,
            in_channels=channels,
            conv_out_channels=channels,
            num_classes=num_classes,
        ),
    )
    return dict(cfg_path=cfg_path, cfg_options=options)


def tiny_fcos(
    base_channels: int = 8,
    channels: int = 8,
    num_classes: int = 3,
    cfg_path: str = FCOS,
) -> dict[str, Any]:
    """Return a reference to a narrow FCOS.

    Args:
        base_channels: Width of the backbone's first stage.
        channels: Width of neck and head; even.
        num_classes: Number of classes.
        cfg_path: What is narrowed.
    """
    return dict(
        cfg_path=cfg_path,
        cfg_options=dict(
            **_tiny_base(base_channels, channels),
            bbox_head=dict(
                num_classes=num_classes,
                in_channels=channels,
                feat_channels=channels,
                stacked_convs=1,
                # Two channels each: one alone has no spread on a 1 x 1 map.
                norm_cfg=dict(type='GN', num_groups=channels // 2),
            ),
        ),
    )


def tiny_yolox(channels: int = 16, num_classes: int = 3) -> dict[str, Any]:
    """Return a reference to a narrow YOLOX, which sees one size of images.

    Args:
        channels: Width of neck and head, a power of two from 8 on.
        num_classes: Number of classes.
    """
    widths = [channels * 2**i for i in range(3)]
    return dict(
        cfg_path=YOLOX,
        cfg_options=dict(
            data_preprocessor=dict(batch_augments=None),
            backbone=dict(widen_factor=channels / 256),
            neck=dict(in_channels=widths, out_channels=channels),
            bbox_head=dict(
                num_classes=num_classes,
                in_channels=channels,
                feat_channels=channels,
                stacked_convs=1,
            ),
        ),
    )


def detection_batch(
    batch: int = 2,
    size: tuple[int, int] = (64, 96),
    valid: tuple[int, int] | None = None,
    seed: int = 0,
) -> tuple[Tensor, list[DetDataSample]]:
    """Return normalised random images with two objects each.

    Args:
        batch: Number of images.
        size: (height, width) of the tensor.
        valid: (height, width) of what is not padding; all by default.
        seed: Of the images.

    Returns:
        (batch, 3, height, width) float32 images, smooth enough to warp, 0 in
        the padding; and their samples.
    """
    generator = torch.Generator().manual_seed(seed)
    height, width = size
    valid = valid or size
    coarse = torch.randn(
        batch, 3, height // 8, width // 8, generator=generator
    )
    images = torch.nn.functional.interpolate(
        coarse, size=size, mode='bicubic', align_corners=False
    )
    images[:, :, valid[0] :] = 0
    images[:, :, :, valid[1] :] = 0
    samples = []
    for _ in range(batch):
        sample = DetDataSample(
            metainfo=dict(
                img_shape=valid,
                ori_shape=valid,
                pad_shape=size,
                batch_input_shape=size,
                scale_factor=(1.0, 1.0),
            )
        )
        h, w = valid
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor(
                [
                    [0.2 * w, 0.2 * h, 0.5 * w, 0.7 * h],
                    [0.5 * w, 0.3 * h, 0.8 * w, 0.8 * h],
                ]
            ),
            labels=torch.tensor([0, 2]),
        )
        sample.ignored_instances = InstanceData(
            bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long)
        )
        samples.append(sample)
    return images, samples


def positives_loss(model: nn.Module, inputs: Tensor, samples: Any) -> float:
    """Return a RetinaNet's task losses without the background.

    Args:
        model: A detector with a sigmoid ``bbox_head``.
        inputs: (B, 3, H, W).
        samples: Their samples.

    Returns:
        The mean over positives of -log p of the class, plus the box losses.
    """
    head: Any = model.bbox_head
    values: list[Tensor] = []

    def keep(module: nn.Module, args: Any, output: Tensor) -> None:
        scores, labels = args[:2]
        rows = torch.nonzero(labels < head.num_classes).flatten()
        values.append(-F.logsigmoid(scores[rows, labels[rows]]))

    handle = head.loss_cls.register_forward_hook(keep)
    try:
        losses = model(inputs, samples, mode='loss')
    finally:
        handle.remove()
    return float(torch.cat(values).mean() + sum(losses['loss_bbox']))
