"""Check the classifiers' configs against the paper and one another."""

import copy
import re
from functools import cache
from pathlib import Path

import pytest
from mmengine.config import Config

ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / 'configs').glob('*/mmpretrain/*.py'))
CIFAR = '1xb128-240e_cifar100'
# Of the paper's Table 1, and where the reference code's configs differ from
# the paper: batch, learning rate, weight decay, weight of KD, when is searched
# and for how many epochs.
TWICE = [30, 90]
OFTEN = list(range(32, 213, 30))
TABLE_1 = {
    'resnet110_resnet20': (128, 0.1, 1e-4, 0.5, TWICE, 1),
    'resnet110_resnet32': (128, 0.1, 1e-4, 0.5, TWICE, 30),
    'wrn40-2_wrn40-1': (128, 0.05, 1e-4, 1.0, TWICE, 10),
    'wrn40-2_wrn16-2': (128, 0.1, 1e-4, 1.0, TWICE, 30),
    'resnet32x4_resnet8x4': (128, 0.1, 1e-4, 1.0, TWICE, 30),
    'vgg13_vgg8': (128, 0.1, 1e-4, 1.0, OFTEN, 5),
    'wrn40-2_shufflenet-v1': (128, 0.05, 5e-4, 1.0, OFTEN, 5),
    'resnet32x4_shufflenet-v1': (64, 0.02, 1e-4, 1.0, TWICE, 30),
    'vgg13_mobilenet-v2': (128, 0.1, 1e-4, 1.0, TWICE, 30),
}
MORE = ('wrn40-4_wrn16-2', 'wrn28-10_wrn16-2', 'resnet56_resnet20')
IMAGENET = (
    'resnet34_resnet18_4xb128-100e_imagenet',
    'resnet50_mobilenet-v1_4xb128-100e_imagenet',
    'swin-large_swin-tiny_8xb64-300e_imagenet',
)
ON_SCORES = ('tst', 'kd', 'dist', 'dkd')
ON_FEATURES = {
    'fitnet': 'stage2',
    'at': 'stages',
    'crd': 'vector',
    'reviewkd': 'stages',
}
SCHEDULE = (
    'train_cfg',
    'param_scheduler',
    'optim_wrapper',
    'train_dataloader',
    'val_dataloader',
    'val_evaluator',
    'auto_scale_lr',
    'randomness',
)


@cache
def read(name):
    (path,) = (ROOT / 'configs').glob(f'*/mmpretrain/{name}.py')
    return Config.fromfile(path)


def load(name):
    return copy.deepcopy(read(name))


def stems(method):
    return {p.stem for p in CONFIGS if p.parts[-3] == method}


def test_each_method_is_there_for_each_pair():
    cifar = [f'{pair}_{CIFAR}' for pair in (*TABLE_1, *MORE)]
    for method in ON_SCORES:
        pairs = cifar + list(() if method == 'dkd' else IMAGENET)
        expected = {f'{method}_logits_{pair}' for pair in pairs}
        if method == 'tst':
            expected |= {
                f'tst_logits-official_{pair}_1xb{batch}-240e_cifar100'
                for pair, (batch, *_) in TABLE_1.items()
            }
            expected |= {f'tst_logits-dist_{pair}' for pair in IMAGENET[:2]}
        assert stems(method) == expected
    for method, where in ON_FEATURES.items():
        pairs = [*TABLE_1] + ['resnet56_resnet20'] * (method == 'crd')
        expected = {f'{method}_{where}_{pair}_{CIFAR}' for pair in pairs}
        assert stems(method) == expected


@pytest.mark.parametrize(
    'name',
    [p.stem for p in CONFIGS if 'official' not in p.stem],
)
def test_all_methods_have_the_recipe_of_tst(name):
    """Pair, data and schedule are the same; the method alone differs."""
    method, _, *fields = name.split('_')
    cfg, reference = load(name), load('_'.join(['tst_logits', *fields]))
    for key in SCHEDULE:
        assert cfg.get(key) == reference.get(key), key
    for key in ('architecture', 'teacher', 'teacher_ckpt'):
        mine, other = cfg.model[key], reference.model[key]
        if method == 'reviewkd' and key != 'teacher_ckpt':
            mine.backbone.pop('preact', None)
        assert mine == other, key


@pytest.mark.parametrize('pair', TABLE_1)
def test_students_and_teachers_alone_have_the_recipe_too(pair):
    cfg = load(f'tst_logits_{pair}_{CIFAR}')
    for key, name in zip(
        ('teacher', 'architecture'), pair.split('_'), strict=True
    ):
        alone = Config.fromfile(
            ROOT / 'configs' / 'classifiers' / f'{name}_{CIFAR}.py'
        )
        assert alone.model == cfg.model[key]
        for entry in SCHEDULE:
            assert alone.get(entry) == cfg.get(entry), entry
        if key == 'teacher':
            folder = f'work_dirs/{name}_{CIFAR}'
            assert cfg.model.teacher_ckpt == f'{folder}/epoch_240.pth'


@pytest.mark.parametrize('pair', [*TABLE_1, *MORE])
def test_the_papers_numbers_for_cifar(pair):
    cfg = load(f'tst_logits_{pair}_{CIFAR}')
    assert cfg.train_cfg.max_epochs == 240
    assert cfg.train_dataloader.batch_size == 128
    assert cfg.optim_wrapper.optimizer.to_dict() == dict(
        type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4
    )
    (steps,) = cfg.param_scheduler
    assert steps.milestones == [150, 180, 210] and steps.gamma == 0.1
    (search,) = cfg.custom_hooks
    assert (search['at'], search.epochs) == ([30, 90], 1)
    assert (search.lr, search.momentum, search.clip_grad) == (0.01, 0.9, 5.0)
    augmentation = cfg.model.augmentation
    assert augmentation.num_operators == 4
    assert augmentation.composition == 'image_sum'
    assert augmentation.channel_order == 'rgb'
    assert (cfg.model.objective.alpha, cfg.model.objective.beta) == (1.0, 1.0)
    loss = cfg.model.distiller.distill_losses.loss_kl
    assert (loss.tau, loss.loss_weight) == (4.0, 1.0)


@pytest.mark.parametrize('pair', TABLE_1)
def test_what_the_reference_code_trains(pair):
    batch, lr, decay, weight, at, epochs = TABLE_1[pair]
    cfg = load(f'tst_logits-official_{pair}_1xb{batch}-240e_cifar100')
    assert cfg.train_dataloader.batch_size == batch
    assert cfg.optim_wrapper.optimizer.to_dict() == dict(
        type='SGD', lr=lr, momentum=0.9, weight_decay=decay, nesterov=True
    )
    (search,) = cfg.custom_hooks
    assert (search['at'], search.epochs) == (at, epochs)
    assert search.clip_grad is None
    assert cfg.model.augmentation.preset == 'official'
    assert cfg.model.objective.mode == 'official'
    loss = cfg.model.distiller.distill_losses.loss_kl
    assert (loss.tau, loss.loss_weight) == (4.0, weight)
    plain = load(f'tst_logits_{pair}_{CIFAR}').model
    assert cfg.model.architecture == plain.architecture
    assert cfg.model.teacher == plain.teacher


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_preprocessors_are_the_models_own(path):
    """One at the top would take the place of the student's, mixup too."""
    cfg = Config.fromfile(path)
    assert cfg.data_preprocessor is None
    assert cfg.model.get('data_preprocessor') is None


@pytest.mark.parametrize('name', IMAGENET)
def test_the_papers_numbers_for_imagenet(name):
    cfg = load(f'tst_logits_{name}')
    optimizer = cfg.optim_wrapper.optimizer
    (search,) = cfg.custom_hooks
    gpus, batch = re.search(r'(\d)xb(\d+)', name).groups()
    assert int(gpus) * int(batch) == cfg.auto_scale_lr.base_batch_size == 512
    if 'swin' in name:
        assert cfg.train_cfg.max_epochs == 300
        assert (optimizer.type, optimizer.lr) == ('AdamW', 5e-4)
        assert optimizer.weight_decay == 0.05
        assert (search['at'], search.epochs) == ([50, 100], 10)
    else:
        assert cfg.train_cfg.max_epochs == 100
        assert (optimizer.type, optimizer.lr) == ('SGD', 0.1)
        assert (optimizer.momentum, optimizer.weight_decay) == (0.9, 1e-4)
        assert cfg.param_scheduler.milestones == [30, 60, 90]
        assert (search['at'], search.epochs) == ([10, 20], 5)
    loss = cfg.model.distiller.distill_losses.loss_kl
    assert (loss.tau, loss.loss_weight) == (1.0, 1.0)


def test_tst_takes_dist_in_the_place_of_kd():
    for name in IMAGENET[:2]:
        own = load(f'tst_logits-dist_{name}').model
        tst, dist = (load(f'{m}_logits_{name}').model for m in ('tst', 'dist'))
        assert own.distiller == dist.distiller
        assert own.augmentation == tst.augmentation
        assert own.objective == tst.objective


@pytest.mark.parametrize(
    ('name', 'loss', 'weight'),
    [
        ('dkd_logits', 'loss_dkd', 1.0),
        ('dist_logits', 'loss_dist', 1.0),
        ('fitnet_stage2', 'loss_fitnet', 100.0),
        ('at_stages', 'loss_at', 1000.0),
        ('crd_vector', 'loss_crd', 0.8),
        ('reviewkd_stages', 'loss_reviewkd', 5.0),
    ],
)
def test_each_baseline_has_its_loss_alone(name, loss, weight):
    cfg = load(f'{name}_wrn40-2_wrn16-2_{CIFAR}')
    (found,) = cfg.model.distiller.distill_losses.items()
    assert found[0] == loss
    inner = found[1].get('loss', found[1])
    assert inner.loss_weight == weight
