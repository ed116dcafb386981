"""Train a pair of each of the paper's tables for three steps, made small.

The configs are the real ones. Those of CIFAR-100 keep their networks and get
a tiny set in its layout; those of ImageNet get a tiny set in its folders, and
images and transformers that a CPU runs in seconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from pair_trainings import give_random_teacher, train_three_steps
from PIL import Image

from mmtst.registry import MODELS
from mmtst.structures import LabelBatch
from mmtst.testing.cifar import write_cifar100

CONFIGS = Path(__file__).parents[1] / 'configs' / 'tst' / 'mmpretrain'
SIZE = 64
# A pair of each table; Tables 5 to 7 and D.4 are of pairs of Table 1.
CIFAR = {
    'table 1': ('resnet32x4_resnet8x4', {}),
    'table 1, official': ('wrn40-2_shufflenet-v1', {}),
    'table 8': (
        'wrn40-4_wrn16-2',
        {'model.objective.alpha': 0.5, 'model.objective.beta': 1.5},
    ),
    'table 9': (
        'resnet56_resnet20',
        {'train_dataloader.dataset.fraction': 0.5},
    ),
}


@pytest.fixture(scope='module')
def cifar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cifar100(
        tmp_path_factory.mktemp('cifar'), num_classes=5, per_class=4
    )


@pytest.fixture(scope='module')
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the root of an ImageNet of 1,000 classes and a few images."""
    root = tmp_path_factory.mktemp('imagenet')
    rng = np.random.default_rng(0)
    for split, count in (('train', 6), ('val', 2)):
        for number in range(1000):
            folder = root / split / f'n{number:08d}'
            folder.mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (80, 90, 3), dtype=np.uint8)
            file = root / split / f'n{number:08d}' / f'{number}.JPEG'
            Image.fromarray(pixels).save(file)
    return root


def shorten(cfg: Config, work_dir: Path) -> None:
    """Train for three steps in two epochs, with a search between them."""
    cfg.work_dir = str(work_dir)
    cfg.launcher = 'none'
    cfg.train_cfg = dict(by_epoch=True, max_epochs=3, val_interval=3)
    cfg.default_hooks.checkpoint.interval = 3
    (search,) = cfg.custom_hooks
    search.update(at=[1], epochs=None, iterations=2, lr=0.5)
    search.report_batches = 1
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[name].num_workers = 0
        cfg[name].pop('persistent_workers', None)
    cfg.train_dataloader.drop_last = True


@pytest.mark.parametrize('table', CIFAR)
def test_pairs_of_cifar(table: str, cifar: Path, tmp_path: Path) -> None:
    pair, options = CIFAR[table]
    method = 'tst_logits-official' if 'official' in table else 'tst_logits'
    (file,) = CONFIGS.glob(f'{method}_{pair}_*_cifar100.py')
    cfg = Config.fromfile(file)
    init_default_scope(cfg.default_scope)
    cfg.merge_from_dict(options)
    shorten(cfg, tmp_path / 'run')
    for model in (cfg.model.architecture, cfg.model.teacher):
        model.head.num_classes = 5
    fraction = cfg.train_dataloader.dataset.get('fraction', 1)
    # All images in one batch: a step is an epoch.
    cfg.train_dataloader.batch_size = int(20 * fraction)
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[name].dataset.data_root = str(cifar)
    give_random_teacher(cfg, tmp_path)
    runner, steps = train_three_steps(cfg)
    assert len(runner.train_dataloader.dataset) == int(20 * fraction)
    wanted = {'student.loss', 'distill.loss_kl'}
    assert all(wanted <= set(step) for step in steps)
    top1 = runner.message_hub.get_scalar('val/accuracy/top1').current()
    assert 0 <= top1 <= 100


def small_images(cfg: Config) -> None:
    """Crop to what is run in seconds."""
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        for step in cfg[name].dataset.pipeline:
            if step.type in ('RandomResizedCrop', 'ResizeEdge'):
                step.scale = SIZE
            elif step.type == 'CenterCrop':
                step.crop_size = SIZE


SMALL_SWIN: dict[str, Any] = dict(
    backbone=dict(
        _delete_=True,
        type='SwinTransformer',
        arch=dict(embed_dims=24, depths=[2, 2], num_heads=[2, 4]),
        img_size=SIZE,
        window_size=4,
        out_indices=(1,),
    ),
    head=dict(in_channels=48),
)


@pytest.mark.parametrize(
    'pair', ['resnet34_resnet18', 'resnet50_mobilenet-v1', 'swin']
)
def test_pairs_of_imagenet(pair: str, imagenet: Path, tmp_path: Path) -> None:
    (file,) = CONFIGS.glob(f'tst_logits_{pair}*_imagenet.py')
    cfg = Config.fromfile(file)
    init_default_scope(cfg.default_scope)
    shorten(cfg, tmp_path / 'run')
    small_images(cfg)
    cfg.train_dataloader.batch_size = 6
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[name].dataset.data_root = str(imagenet)
    if pair == 'swin':
        cfg.param_scheduler = None  # begins where this training has ended
        for model in (cfg.model.architecture, cfg.model.teacher):
            model.cfg_options = SMALL_SWIN
    give_random_teacher(cfg, tmp_path)
    runner, steps = train_three_steps(cfg)
    assert all('distill.loss_kl' in step for step in steps)
    # The student's own mixup and CutMix reach the algorithm, both views.
    mixing = runner.model.data_preprocessor.batch_augments
    assert (mixing is not None) == (pair == 'swin')


FEATURES = sorted(
    path
    for method in ('fitnet', 'at', 'crd', 'reviewkd')
    for path in (CONFIGS.parents[1] / method / 'mmpretrain').glob('*.py')
)


@pytest.mark.parametrize('path', FEATURES, ids=lambda p: p.stem)
def test_feature_baselines_fit_their_pair(path: Path) -> None:
    """Maps and connectors have the same sizes; all is learned from."""
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    model = dict(cfg.model, untrained_teacher=True)
    del model['teacher_ckpt']
    torch.manual_seed(0)
    algorithm = MODELS.build(model).train()
    labels = LabelBatch().set_gt_label(torch.tensor([3, 8]))
    labels.set_field(torch.tensor([0, 1]), 'sample_idx')
    losses = algorithm(torch.randn(2, 3, 32, 32), [labels], mode='loss')
    (name,) = (key for key in losses if key.startswith('distill.'))
    assert losses[name].isfinite()
    losses[name].backward()
    learning = [
        *algorithm.distiller.connectors.parameters(),
        next(algorithm.student.backbone.parameters()),
    ]
    for parameter in learning:
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
    assert learning[-1].grad.abs().sum() > 0
    assert all(p.grad is None for p in algorithm.teacher.parameters())
