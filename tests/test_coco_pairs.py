"""Train each of the paper's pairs on COCO for three steps, made small.

The configs are the real ones; the models are narrowed to what a CPU runs in
seconds, the images are some hundred pixels wide, and the data is a tiny set
in COCO's own folders with its 80 categories.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from pair_trainings import give_random_teacher, train_three_steps

from mmtst.datasets import check_annotations, check_data, set_data_root
from mmtst.testing.coco import write_tiny_coco
from mmtst.testing.detection import (
    tiny_cascade_mask_rcnn,
    tiny_faster_rcnn,
    tiny_fcos,
    tiny_retinanet,
)

CONFIGS = Path(__file__).parents[1] / 'configs' / 'tst' / 'mmdet'
SIZE = (128, 96)  # width, height
IMAGES = dict(train2017=6, val2017=2)


@pytest.fixture(scope='module')
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the root of a COCO of a few images."""
    root = tmp_path_factory.mktemp('data') / 'coco'
    return write_tiny_coco(root, IMAGES, SIZE)


def narrow_retinanet(cfg_path: str, base_channels: int) -> dict[str, Any]:
    reference = tiny_retinanet(base_channels)
    options = reference['cfg_options']
    options['backbone'].update(
        _delete_=True,
        type='ResNet',
        depth=18,
        out_indices=(0, 1, 2, 3),
        norm_cfg=dict(type='BN', requires_grad=True),
    )
    options['bbox_head']['num_classes'] = 80
    return dict(reference, cfg_path=cfg_path)


def narrow(make: Callable[..., dict[str, Any]]) -> Any:
    return lambda path, base: make(base, num_classes=80, cfg_path=path)


# Of each family: its config, how student and teacher are narrowed, and which
# of the student's losses tell that all is there.
FAMILIES = {
    'retina': (
        'tst_cls_retina-x101_retina-r50_8xb2-2x_coco.py',
        narrow_retinanet,
        narrow_retinanet,
        {'student.loss_cls', 'student.loss_bbox'},
    ),
    'faster': (
        'tst_cls-fpn_cascade-mask-x101_faster-r50_8xb2-2x_coco.py',
        narrow(tiny_faster_rcnn),
        narrow(tiny_cascade_mask_rcnn),
        {'student.loss_rpn_cls', 'student.loss_cls', 'student.loss_bbox'},
    ),
    'fcos': (
        'tst_cls-fpn_fcos-r101_fcos-r50_8xb2-2x_coco.py',
        narrow(tiny_fcos),
        narrow(tiny_fcos),
        {'student.loss_cls', 'student.loss_centerness'},
    ),
}


def read(family: str, coco: Path, tmp_path: Path) -> Config:
    """Return a family's config, narrowed and for the tiny set."""
    name, student, teacher, _ = FAMILIES[family]
    cfg = Config.fromfile(CONFIGS / name)
    init_default_scope('mmdet')
    set_data_root(cfg, str(coco))
    cfg.work_dir = str(tmp_path / 'work')
    for pipeline in (
        cfg.train_dataloader.dataset.pipeline,
        cfg.val_dataloader.dataset.pipeline,
    ):
        for step in pipeline:
            if step.type == 'Resize':
                step.scale = SIZE
            elif step.type == 'RandomChoiceResize':
                step.scales = [(128, 64), SIZE]
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
    model = cfg.model
    for part, make, base in (
        (model.architecture, student, 8),
        (model.teacher, teacher, 16),
    ):
        small = make(part.cfg_path, base)['cfg_options']
        # What the config itself sets stays: FCOS's GIoU, for instance.
        options = part.get('cfg_options') or {}
        head = {**small.get('bbox_head', {}), **options.get('bbox_head', {})}
        if head:
            small['bbox_head'] = head
        # A fresh head is sure of nothing.
        lenient = dict(score_thr=0.0)
        small['test_cfg'] = lenient if head else dict(rcnn=lenient)
        part.cfg_options = small
    for connector in (model.distiller.get('connectors') or {}).values():
        connector.update(in_channels=8, out_channels=8)
    give_random_teacher(cfg, tmp_path)
    cfg.train_cfg.max_epochs = 1
    cfg.custom_hooks[0].update(at=[0], epochs=None, iterations=1)
    return cfg


@pytest.mark.slow
@pytest.mark.parametrize('family', FAMILIES)
def test_three_steps_a_search_and_a_validation(
    family: str, coco: Path, tmp_path: Path
) -> None:
    cfg = read(family, coco, tmp_path)
    check_data(cfg)
    assert set(check_annotations(cfg).values()) == set(IMAGES.values())
    runner, steps = train_three_steps(cfg)
    expected = FAMILIES[family][-1] | {'distill.loss_kl'}
    if 'cls-fpn' in FAMILIES[family][0]:
        expected.add('distill.loss_mimic')
    assert all(expected <= set(step) for step in steps)
    # Validation has seen the student's boxes.
    assert 'val/coco/bbox_mAP' in runner.message_hub.log_scalars
    assert not any(
        'mask' in name for name in runner.model.teacher.state_dict()
    )
    assert (Path(cfg.work_dir) / 'epoch_1.pth').is_file()
