"""Build real detectors and batches for the objective's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mmdet
import mmdet.models  # fills the registry
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from torch import Tensor, nn

CONFIGS = Path(mmdet.__file__).parent / '.mim' / 'configs'

R18 = dict(depth=18, norm_eval=False, frozen_stages=-1)
NARROW_NECK = dict(in_channels=[64, 128, 256, 512], out_channels=32)
HEAD = dict(num_classes=3, in_channels=32, feat_channels=32, stacked_convs=1)
SMALL = {
    'retinanet': (
        'retinanet/retinanet_r18_fpn_1x_coco.py',
        dict(
            backbone=dict(R18, init_cfg=None),
            neck=NARROW_NECK,
            bbox_head=HEAD,
        ),
    ),
    'fcos': (
        'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
        dict(
            backbone=dict(R18, style='pytorch', init_cfg=None),
            neck=NARROW_NECK,
            bbox_head=HEAD,
        ),
    ),
    'atss': (
        'atss/atss_r50_fpn_1x_coco.py',
        dict(
            backbone=dict(R18, init_cfg=None),
            neck=NARROW_NECK,
            bbox_head=HEAD,
        ),
    ),
    'faster_rcnn': (
        'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
        dict(
            backbone=dict(R18, init_cfg=None),
            neck=NARROW_NECK,
            rpn_head=dict(in_channels=32, feat_channels=32),
            roi_head=dict(
                bbox_roi_extractor=dict(out_channels=32),
                bbox_head=dict(
                    in_channels=32, fc_out_channels=64, num_classes=3
                ),
            ),
        ),
    ),
}


@pytest.fixture
def config_root() -> Path:
    """Return the folder of mmdet's own configs."""
    return CONFIGS


@pytest.fixture
def build_config() -> Callable[[Any], nn.Module]:
    """Return a function that builds the model of a config."""

    def build(config: Any) -> nn.Module:
        if isinstance(config, str):
            config = Config.fromfile(CONFIGS / config)
        return _build(config.model, seed=0)

    return build


@pytest.fixture
def build_small() -> Callable[..., nn.Module]:
    """Return a function that builds a small detector by its family's name."""

    def build(family: str, seed: int = 0, **options: Any) -> nn.Module:
        name, small = SMALL[family]
        config = Config.fromfile(CONFIGS / name)
        config.merge_from_dict(dict(model=small))
        config.merge_from_dict(dict(model=options))
        return _build(config.model, seed)

    return build


def _build(config: Any, seed: int) -> nn.Module:
    """Build a model with random weights, the same for the same seed."""
    with (
        DefaultScope.overwrite_default_scope('mmdet'),
        torch.random.fork_rng(devices=[]),
    ):
        torch.manual_seed(seed)
        return MODELS.build(config)


@pytest.fixture
def make_batch() -> Callable[..., tuple[Tensor, list[Any]]]:
    """Return a function that makes normalized images with boxes on them."""

    def make(
        sizes: list[tuple[int, int]],
        boxes: list[list[list[float]]],
        labels: list[list[int]],
        masks: bool = False,
        seed: int = 0,
    ) -> tuple[Tensor, list[Any]]:
        generator = torch.Generator().manual_seed(seed)
        height = max(h for h, _ in sizes)
        width = max(w for _, w in sizes)
        images = torch.zeros(len(sizes), 3, height, width)
        samples = []
        for i, (h, w) in enumerate(sizes):
            images[i, :, :h, :w] = torch.randn(3, h, w, generator=generator)
            sample = DetDataSample(
                metainfo=dict(
                    img_shape=(h, w),
                    ori_shape=(h, w),
                    pad_shape=(height, width),
                    batch_input_shape=(height, width),
                    scale_factor=(1.0, 1.0),
                )
            )
            sample.gt_instances = InstanceData(
                bboxes=torch.tensor(boxes[i]).reshape(-1, 4),
                labels=torch.tensor(labels[i], dtype=torch.long),
            )
            sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4))
            if masks:
                sample.gt_instances.masks = _box_masks(boxes[i], height, width)
            samples.append(sample)
        return images, samples

    return make


def _box_masks(boxes: list[list[float]], height: int, width: int) -> Any:
    """Return bitmaps that fill the boxes."""
    bitmaps = np.zeros((len(boxes), height, width), dtype=np.uint8)
    for bitmap, (left, top, right, bottom) in zip(bitmaps, boxes, strict=True):
        bitmap[int(top) : int(bottom), int(left) : int(right)] = 1
    return BitmapMasks(bitmaps, height, width)
