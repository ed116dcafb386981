"""Try which of mmdet's detectors can be distilled, and write the table.

Each config is taken as it is, as student and as its own (untrained) teacher,
through one step of Stage III and one of Stage II on two small images. What is
refused is listed with the first line of its error.

    python benchmarks/students.py [--out docs/en/students.md] [NAME ...]
"""

from __future__ import annotations

import argparse
import gc
import logging
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import mmtst  # noqa: F401  isort: skip
import numpy as np
import torch
from mmdet.structures.mask import BitmapMasks
from mmengine.logging import MessageHub
from mmengine.registry import init_default_scope

from mmtst.engine.search_loop import PolicySearch
from mmtst.engine.search_types import SearchOptions
from mmtst.models.build import resolve_model_cfg
from mmtst.registry import MODELS
from mmtst.testing.detection import detection_batch

ROOT = Path(__file__).parents[1]
MARKS = ('<!-- table -->\n', '<!-- end of table -->\n')
SIDE = 128
# Its last maps would be smaller than their kernels.
SIDES = {'ssd300_coco': 320}
STUDENTS = (
    'retinanet/retinanet_r50_fpn_1x_coco.py',
    'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
    'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    'cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py',
    'cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py',
    'gfl/gfl_r50_fpn_1x_coco.py',
    'atss/atss_r50_fpn_1x_coco.py',
    'reppoints/reppoints-moment_r50_fpn_1x_coco.py',
    'fsaf/fsaf_r50_fpn_1x_coco.py',
    'foveabox/fovea_r50_fpn_4xb4-1x_coco.py',
    'tood/tood_r50_fpn_1x_coco.py',
    'vfnet/vfnet_r50_fpn_1x_coco.py',
    'paa/paa_r50_fpn_1x_coco.py',
    'libra_rcnn/libra-faster-rcnn_r50_fpn_1x_coco.py',
    'double_heads/dh-faster-rcnn_r50_fpn_1x_coco.py',
    'htc/htc-without-semantic_r50_fpn_1x_coco.py',
    'sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco.py',
    'rtmdet/rtmdet_tiny_8xb32-300e_coco.py',
    'yolox/yolox_tiny_8xb8-300e_coco.py',
    'yolo/yolov3_d53_8xb8-320-273e_coco.py',
    'ssd/ssd300_coco.py',
    'yolact/yolact_r50_1xb8-55e_coco.py',
)


def distillation(name: str) -> dict[str, Any]:
    """Return the config of a TST distillation of a detector by itself.

    Raises:
        ConfigError: The config cannot be read.
    """
    reference = dict(cfg_path=f'mmdet::{name}')
    model = resolve_model_cfg(reference, 'student')
    options = {}
    if 'backbone' in model and 'init_cfg' in model.backbone:
        options = dict(backbone=dict(init_cfg=None))
    reference['cfg_options'] = options
    source, at = 'bbox_head', dict(data_idx=0)
    if 'roi_head' in model:
        stage = '.0' if isinstance(model.roi_head.bbox_head, list) else ''
        source, at = f'roi_head.bbox_head{stage}.fc_cls', {}
    head = dict(type='ModuleOutputs', source=source)
    return dict(
        _scope_='mmrazor',
        type='mmtst.TSTDistill',
        architecture=reference,
        teacher=reference,
        untrained_teacher=True,
        distiller=dict(
            type='mmtst.DataAugmentationDistiller',
            student_recorders=dict(head=head),
            teacher_recorders=dict(head=head),
            distill_losses=dict(loss_kl=dict(type='mmtst.DenseKLLoss')),
            loss_forward_mappings=dict(
                loss_kl=dict(
                    preds_S=dict(from_student=True, recorder='head', **at),
                    preds_T=dict(from_student=False, recorder='head', **at),
                )
            ),
        ),
    )


def batch_for(model: Any, side: int) -> tuple[torch.Tensor, list[Any]]:
    """Return two images with boxes, and masks where a head wants them."""
    inputs, samples = detection_batch(size=(side, side))
    if not any('mask_head' in name for name, _ in model.named_modules()):
        return inputs, samples
    for sample in samples:
        boxes = sample.gt_instances.bboxes.round().int().tolist()
        masks = np.zeros((len(boxes), side, side), np.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
            mask[y1:y2, x1:x2] = 1
        sample.gt_instances.masks = BitmapMasks(masks, side, side)
    return inputs, samples


def stage_three(model: Any, side: int) -> None:
    """Take one step on a batch.

    Raises:
        FloatingPointError: A loss is not finite.
    """
    total, _ = model.parse_losses(model.loss(*batch_for(model, side)))
    total.backward()
    if not bool(total.isfinite()):
        raise FloatingPointError('a loss is not finite')


def stage_two(model: Any, side: int) -> None:
    """Take one search step.

    Raises:
        FloatingPointError: The gradient is zero or not finite.
    """
    search = PolicySearch(
        model,
        SearchOptions(iterations=1, steps_per_epoch=1, lr=0.1),
        seed=0,
        autocast=nullcontext,
        logger=logging.getLogger('students'),
        on_log=lambda entry: None,
    )
    inputs, samples = batch_for(model, side)
    pictures = [(image * 40 + 120).clamp(0, 255).byte() for image in inputs]
    search._begin(model.augmentation.policy.detach())
    with model.search_mode():
        outcome = search._measure(
            dict(inputs=pictures, data_samples=samples), 0
        )
    norm = float(outcome.gradient.norm())
    if not outcome.valid or norm == 0:
        raise FloatingPointError('no gradient reaches the policy')


def try_student(name: str) -> list[str]:
    """Return the cells of one row."""
    torch.manual_seed(0)
    cells = [Path(name).stem]
    try:
        model = MODELS.build(distillation(name))
        model.init_weights()
        model.train()
        for stage in (stage_three, stage_two):
            stage(model, SIDES.get(cells[0], SIDE))
            cells.append('runs')
        cells.append('')
    except Exception as error:
        lines = str(error).splitlines() or ['']
        cells += ['-'] * (3 - len(cells))
        cells.append(f'{type(error).__name__}: {lines[0]}'.replace('|', '/'))
    gc.collect()
    return cells


def main() -> None:
    """Try all, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('names', nargs='*', default=STUDENTS)
    parser.add_argument(
        '--out', type=Path, default=ROOT / 'docs' / 'en' / 'students.md'
    )
    args = parser.parse_args()
    warnings.filterwarnings('ignore')
    # Or every initialised weight has a line.
    logging.disable(logging.INFO)
    init_default_scope('mmdet')
    # Some heads and preprocessors ask how far the training is.
    hub = MessageHub.get_current_instance()
    for name in ('epoch', 'iter'):
        hub.update_info(name, 0)
    rows = ['| mmdet config | Stage III | Stage II | |', '|---|---|---|---|']
    for name in args.names:
        row = f'| {" | ".join(try_student(name))} |'
        print(row, flush=True)
        rows.append(row)
    head, rest = args.out.read_text().split(MARKS[0])
    tail = rest.split(MARKS[1])[1]
    table = '\n'.join(rows) + '\n'
    args.out.write_text(f'{head}{MARKS[0]}{table}{MARKS[1]}{tail}')


if __name__ == '__main__':
    main()
