"""Make the tiny data, configs and checkpoints that the cases spoil."""

from __future__ import annotations

from pathlib import Path

import torch

from hostile.downloads import serve
from hostile.harness import ROOT, Command, call
from mmtst.datasets import ShapesSettings, write_shapes
from mmtst.testing.cifar import write_cifar100

CLASSES = ('circle', 'square', 'triangle', 'star', 'cross')
OPTIONS = """dict(
    backbone=dict(
        depth=18, base_channels={base}, frozen_stages=-1, norm_eval=False,
        init_cfg=None),
    neck=dict(in_channels=[{base}, 2 * {base}, 4 * {base}, 8 * {base}],
              out_channels=16),
    bbox_head=dict(num_classes=5, in_channels=16, feat_channels=16,
                   stacked_convs=1),
    test_cfg=dict(score_thr=0.0001, max_per_img=10))"""
_DATA = """
data_root = '{shapes}'
classes = ('circle', 'square', 'triangle', 'star', 'cross')
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(64, 64), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs',
         meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape',
                    'scale_factor')),
]
train_dataloader = dict(
    batch_size=4, num_workers=0, persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='CocoDataset', data_root=data_root,
        metainfo=dict(classes=classes),
        ann_file='annotations/instances_train.json',
        data_prefix=dict(img='train/'), pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=4, num_workers=0, persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CocoDataset', data_root=data_root, test_mode=True,
        metainfo=dict(classes=classes),
        ann_file='annotations/instances_val.json',
        data_prefix=dict(img='val/'), pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='CocoMetric', metric='bbox',
    ann_file=data_root + '/annotations/instances_val.json')
test_evaluator = val_evaluator
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.001, momentum=0.9))
param_scheduler = [
    dict(type='MultiStepLR', begin=0, end=2, by_epoch=True, milestones=[1])]
default_hooks = dict(
    logger=dict(interval=1), teacher_check=dict(enabled=False))
"""
PLAIN = (
    """
_base_ = [
    'mmdet::_base_/models/retinanet_r50_fpn.py',
    '{root}/configs/_base_/det_runtime.py',
]
model = {student}
"""
    + _DATA
)
DISTILL = (
    """
_base_ = ['{root}/configs/_base_/det_runtime.py']
model = dict(
    _scope_='mmrazor',
    type='mmtst.TSTDistill',
    architecture=dict(
        cfg_path='mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
        cfg_options={student}),
    teacher=dict(
        cfg_path='mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
        cfg_options={teacher}),
    teacher_ckpt='{teacher_ckpt}',
    augmentation=dict(type='mmtst.AugmentationEncoder'),
    distiller=dict(
        type='mmtst.DataAugmentationDistiller',
        student_recorders=dict(
            cls=dict(type='ModuleOutputs', source='bbox_head.retina_cls')),
        teacher_recorders=dict(
            cls=dict(type='ModuleOutputs', source='bbox_head.retina_cls')),
        distill_losses=dict(kl=dict(type='mmtst.DenseKLLoss')),
        loss_forward_mappings=dict(
            kl=dict(
                preds_S=dict(from_student=True, recorder='cls'),
                preds_T=dict(from_student=False, recorder='cls')))))
find_unused_parameters = True
custom_hooks = [
    dict(type='mmtst.PolicySearchHook', at=[1], iterations=2,
         report_batches=1, log_interval=1)]
"""
    + _DATA
)
SEG = """
_base_ = [
    '{root}/configs/_base_/datasets/shapes_segmentation.py',
    '{root}/configs/_base_/pairs/small_pspnet/student.py',
    '{root}/configs/_base_/schedules/scratch_adamw_iters.py',
]
model = dict(cfg_options=dict(decode_head=dict(num_classes=6),
                              auxiliary_head=dict(num_classes=6)))
train_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=False,
    dataset=dict(data_root='{cities}'))
val_dataloader = dict(
    num_workers=0, persistent_workers=False,
    dataset=dict(data_root='{cities}'))
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=2,
                 val_interval=2)
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=2))
"""
CLS = """
_base_ = ['{root}/configs/demo/cls/student.py']
model = dict(head=dict(num_classes=4),
             data_preprocessor=dict(num_classes=4))
train_dataloader = dict(batch_size=4, dataset=dict(
    data_root='{cifar}', fraction=1.0))
val_dataloader = dict(dataset=dict(data_root='{cifar}'))
train_cfg = dict(max_epochs=1, val_interval=1)
"""
ITERATIONS = (
    DISTILL.replace('at=[1]', 'at=[2], by_epoch=False')
    .replace(
        "dict(type='EpochBasedTrainLoop', max_epochs=2)",
        "dict(type='IterBasedTrainLoop', max_iters=4, val_interval=2)",
    )
    .replace("'DefaultSampler', shuffle=True", "'InfiniteSampler'")
    .replace('logger=', 'checkpoint=dict(by_epoch=False, interval=2), logger=')
    + 'log_processor = dict(by_epoch=False)\n'
)


class Toys:
    """Hold what the cases share.

    Args:
        folder: Where it is made.

    Attributes:
        shapes: Eight and four pictures of 64 pixels, COCO layout.
        cities: The same kind in Cityscapes layout.
        cifar: Four classes in the layout of CIFAR-100.
        plain: Config of a tiny detector.
        distill: Of its distillation by epochs, two with one search.
        iterations: Of one by iterations, four.
        seg: Config of a tiny segmentor.
        cls: Of a tiny classifier.
        teacher: Checkpoint.
        run: Work dir of a finished distillation.
        plain_run: Of a finished plain training.
        served: What the server on this machine gives.
        port: Of the server.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.shapes = folder / 'shapes'
        self.cities = folder / 'cities'
        write_shapes(self.shapes, ShapesSettings(8, 4, 64, seed=3))
        write_shapes(
            self.cities, ShapesSettings(6, 4, 64, seed=3, layout='cityscapes')
        )
        self.cifar = write_cifar100(folder / 'cifar', per_class=4)
        self.teacher = folder / 'teacher.pth'
        self.student = folder / 'student.pth'
        self.values = dict(
            root=ROOT,
            shapes=self.shapes,
            cities=self.cities,
            cifar=self.cifar,
            student=OPTIONS.format(base=8),
            teacher=OPTIONS.format(base=16),
            teacher_ckpt=self.teacher,
        )
        self.plain = self._config('plain', PLAIN)
        self.distill = self._config('distill', DISTILL)
        self.iterations = self._config('iterations', ITERATIONS)
        self.seg = self._config('seg', SEG)
        self.cls = self._config('cls', CLS)
        self._save(self.teacher, 16)
        self._save(self.student, 8)
        self.run = folder / 'run'
        self.plain_run = folder / 'plain_run'
        self.served = folder.with_name('served')
        self.served.mkdir()
        self.port = serve(self.served)

    def train(self) -> None:
        """Train what the cases go on from.

        Raises:
            RuntimeError: The toys themselves do not work.
        """
        for config, work in (
            (self.distill, self.run),
            (self.plain, self.plain_run),
        ):
            command = Command('train', [config, '--work-dir', work])
            log = self.folder / f'{work.name}.txt'
            code, text = call(command, self.folder, log, 300)
            if code != 0:
                raise RuntimeError(f'the toys do not train:\n{text[-3000:]}')

    def text(self, template: str, **more: object) -> str:
        """Fill in a config."""
        return template.format(**{**self.values, **more})

    def _config(self, name: str, template: str) -> Path:
        path = self.folder / f'{name}.py'
        path.write_text(self.text(template))
        return path

    def _save(self, path: Path, base: int) -> None:
        from mmengine.config import Config
        from mmengine.registry import MODELS, DefaultScope

        config = path.with_suffix('.model.py')
        config.write_text(self.text(PLAIN, student=OPTIONS.format(base=base)))
        torch.manual_seed(0)
        with DefaultScope.overwrite_default_scope('mmdet'):
            model = MODELS.build(Config.fromfile(config).model)
        torch.save(
            {
                'state_dict': model.state_dict(),
                'meta': {'epoch': 1, 'dataset_meta': {'classes': CLASSES}},
            },
            path,
        )
