"""Make what the tools are tried on: tiny data, configs and checkpoints."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / 'tools'

OPTIONS = """dict(
    backbone=dict(
        depth=18, base_channels={base}, frozen_stages=-1, norm_eval=False,
        init_cfg=None),
    neck=dict(in_channels=[{base}, 2 * {base}, 4 * {base}, 8 * {base}],
              out_channels=16),
    bbox_head=dict(num_classes=5, in_channels=16, feat_channels=16,
                   stacked_convs=1))"""

PLAIN = """
_base_ = [
    'mmdet::_base_/models/retinanet_r50_fpn.py',
    'mmdet::_base_/default_runtime.py',
]
custom_imports = dict(imports=['mmtst'])
model = {options}
data_root = 'data/shapes'
classes = ('circle', 'square', 'triangle', 'star', 'cross')
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
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
    batch_size=4, num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='CocoDataset', data_root=data_root,
        metainfo=dict(classes=classes),
        ann_file='annotations/instances_train.json',
        data_prefix=dict(img='train/'), pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=4, num_workers=0,
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
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.001))
auto_scale_lr = dict(enable=False, base_batch_size=4)
"""

DISTILL = PLAIN.replace(
    "    'mmdet::_base_/models/retinanet_r50_fpn.py',\n", ''
).replace(
    'model = {options}',
    """model = dict(
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
    dict(type='mmtst.PolicySearchHook', at=[0], iterations=2,
         report_batches=1)]""",
)


@pytest.fixture(scope='session')
def shapes(tmp_path_factory) -> Path:
    """Return a shapes set of a few images of 64 pixels."""
    from mmtst.datasets import ShapesSettings, write_shapes

    out = tmp_path_factory.mktemp('data') / 'shapes'
    write_shapes(out, ShapesSettings(8, 4, 64, seed=3))
    return out


@pytest.fixture(scope='session')
def plain_config(tmp_path_factory) -> Path:
    """Return the config of a tiny detector."""
    path = tmp_path_factory.mktemp('configs') / 'plain.py'
    path.write_text(PLAIN.format(options=OPTIONS.format(base=8)))
    return path


@pytest.fixture(scope='session')
def teacher_config(tmp_path_factory) -> Path:
    """Return the config of a somewhat larger detector."""
    path = tmp_path_factory.mktemp('configs') / 'teacher.py'
    path.write_text(PLAIN.format(options=OPTIONS.format(base=16)))
    return path


@pytest.fixture(scope='session')
def teacher_checkpoint(tmp_path_factory, teacher_config) -> Path:
    """Return a checkpoint of the larger detector, with random weights."""
    return save_model(
        tmp_path_factory.mktemp('teacher') / 'teacher.pth', teacher_config
    )


@pytest.fixture(scope='session')
def distill_config(tmp_path_factory, teacher_checkpoint) -> Path:
    """Return the config that distils one into the other."""
    path = tmp_path_factory.mktemp('configs') / 'distill.py'
    path.write_text(
        DISTILL.format(
            student=OPTIONS.format(base=8),
            teacher=OPTIONS.format(base=16),
            teacher_ckpt=teacher_checkpoint,
        )
    )
    return path


@pytest.fixture(scope='session')
def distill_run(tmp_path_factory, distill_config, shapes) -> Path:
    """Return the work dir of a short distillation with one search."""
    folder = tmp_path_factory.mktemp('run')
    code, text = run_tool(
        'train',
        distill_config,
        '--data-root',
        shapes,
        '--work-dir',
        'work',
        cwd=folder,
    )
    assert code == 0, text
    return folder / 'work'


@pytest.fixture(scope='session')
def shapes_of_cities(tmp_path_factory) -> Path:
    """Return a shapes set of a few images in Cityscapes layout."""
    from mmtst.datasets import ShapesSettings, write_shapes

    out = tmp_path_factory.mktemp('data') / 'shapes'
    write_shapes(out, ShapesSettings(6, 4, 64, seed=3, layout='cityscapes'))
    return out


@pytest.fixture(scope='session')
def load_tool():
    """Return a function that imports a tool by its name."""
    # By path: a top-level module named test is Python's own.
    loaded = {}

    def load(name):
        if name not in loaded:
            spec = importlib.util.spec_from_file_location(
                f'mmtst_tool_{name}', TOOLS / f'{name}.py'
            )
            loaded[name] = importlib.util.module_from_spec(spec)
            # Dataclasses look their module up.
            sys.modules[spec.name] = loaded[name]
            sys.path.insert(0, str(TOOLS))
            try:
                spec.loader.exec_module(loaded[name])
            finally:
                sys.path.remove(str(TOOLS))
        return loaded[name]

    return load


@pytest.fixture(scope='session')
def tool():
    """Return :func:`run_tool`."""
    return run_tool


def build_model(config: Path) -> torch.nn.Module:
    """Build the model of a config with seeded random weights."""
    from mmengine.config import Config
    from mmengine.registry import MODELS, DefaultScope

    cfg = Config.fromfile(config)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(cfg.model)


def save_model(path: Path, config: Path) -> Path:
    """Save a checkpoint as mmengine does, of random weights."""
    torch.save(
        {
            'state_dict': build_model(config).state_dict(),
            'meta': {'epoch': 1, 'dataset_meta': {'classes': ('a',) * 5}},
        },
        path,
    )
    return path


def run_tool(name: str, *arguments: object, cwd: Path) -> tuple[int, str]:
    """Run a tool as users do; return its exit code and all it printed."""
    environment = {
        **os.environ,
        'PYTHONPATH': os.pathsep.join(
            [str(ROOT), *filter(None, [os.environ.get('PYTHONPATH')])]
        ),
        'OMP_NUM_THREADS': '1',
    }
    done = subprocess.run(
        [sys.executable, str(TOOLS / f'{name}.py')]
        + [str(argument) for argument in arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr
