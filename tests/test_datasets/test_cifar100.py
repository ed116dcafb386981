"""Test the data set in device memory, alone and under mmengine's runner."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import DefaultSampler, pseudo_collate
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DATASETS, DefaultScope
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from mmpretrain.apis import ImageClassificationInferencer
from mmpretrain.models import ClsDataPreprocessor, ImageClassifier
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, Subset

from mmtst.datasets import CIFAR100, check_data, keep_batch, set_data_root
from mmtst.datasets.crops import crop_and_flip, draw_crops
from mmtst.engine.search_data import build_search_loader, opened
from mmtst.engine.seeded_samples import SeededBatches, with_batches
from mmtst.structures import LabelBatch
from mmtst.testing.cifar import write_cifar100
from mmtst.utils.errors import ConfigError
from mmtst.utils.plain_pickle import read_plain_pickle
from mmtst.utils.safe_loading import install_safe_loading

CONFIGS = Path(__file__).parents[2] / 'configs' / '_base_' / 'datasets'


@pytest.fixture(scope='module')
def root(tmp_path_factory: Any) -> str:
    folder = tmp_path_factory.mktemp('cifar') / 'set'
    return str(write_cifar100(folder, num_classes=4, per_class=10))


def raw(root: str, split: str = 'train') -> tuple[Tensor, list[int]]:
    content = read_plain_pickle(Path(root, 'cifar-100-python', split))
    images = torch.from_numpy(content[b'data']).view(-1, 3, 32, 32)
    return images, content[b'fine_labels']


def build(root: str, split: str = 'train', **options: Any) -> CIFAR100:
    return CIFAR100(root, split, **{'device': 'cpu', **options})


def test_it_is_found_by_its_name(root: str) -> None:
    cfg = dict(type='mmtst.CIFAR100', data_root=root)
    dataset = DATASETS.build(cfg)
    assert type(dataset) is CIFAR100
    assert len(dataset) == 40
    assert dataset.num_classes == 4
    names = tuple(f'class{i:02d}' for i in range(4))
    assert dataset.metainfo == {'classes': names}
    dataset.metainfo['classes'] = ()
    assert dataset.metainfo == {'classes': names}


def test_a_batch_is_cropped_and_flipped_as_drawn(root: str) -> None:
    images, labels = raw(root)
    dataset = build(root)
    chosen = [3, 39, 0, -1, 3]
    torch.manual_seed(4)
    batch = dataset.__getitems__(chosen)
    torch.manual_seed(4)
    crops = draw_crops(5, 4, 0.5)
    expected = crop_and_flip(images[chosen], crops, 4)
    assert torch.equal(batch['inputs'], expected)
    assert batch['inputs'].dtype == torch.uint8
    (sample,) = batch['data_samples']
    assert type(sample) is LabelBatch
    assert sample.gt_label.tolist() == [labels[i] for i in chosen]
    assert sample.sample_idx.tolist() == [3, 39, 0, 39, 3]
    assert sample.img_shape == sample.ori_shape == (32, 32)
    assert sample.num_classes == 4
    # What lies in memory is as it was.
    whole = build(root, crop_padding=0, flip=0).__getitems__(range(40))
    assert torch.equal(whole['inputs'], images)


@pytest.mark.parametrize(('padding', 'flip'), [(0, 1), (2, 0)])
def test_crops_and_flips_alone(root: str, padding: int, flip: float) -> None:
    images, _ = raw(root)
    dataset = build(root, crop_padding=padding, flip=flip)
    torch.manual_seed(1)
    got = dataset.__getitems__(range(40))['inputs']
    torch.manual_seed(1)
    crops = draw_crops(40, padding, flip)
    assert torch.equal(got, crop_and_flip(images, crops, padding))
    assert not torch.equal(got, images)


def test_test_images_stay_as_they_are_with_samples_of_their_own(
    root: str,
) -> None:
    images, labels = raw(root, 'test')
    dataset = build(root, 'test', crop_padding=4, flip=1, batched=True)
    before = torch.get_rng_state()
    items = dataset.__getitems__([5, 0, 7])
    assert torch.equal(torch.get_rng_state(), before)
    assert [type(item['data_samples']) for item in items] == [DataSample] * 3
    for item, i in zip(items, [5, 0, 7], strict=True):
        assert torch.equal(item['inputs'], images[i])
        sample = item['data_samples']
        assert sample.gt_label.tolist() == [labels[i]]
        assert (sample.sample_idx, sample.num_classes) == (i, 4)
        assert sample.img_shape == (32, 32)
        single = dataset[i]
        assert torch.equal(single['inputs'], images[i])
        assert single['data_samples'].gt_label.tolist() == [labels[i]]


def test_unbatched_training_has_the_same_pixels(root: str) -> None:
    batches = []
    for batched in (True, False):
        torch.manual_seed(2)
        dataset = build(root, batched=batched)
        batches.append(keep_batch(dataset.__getitems__([1, 8, 3])))
    one, many = batches
    assert torch.equal(one['inputs'], many['inputs'])
    labels = [sample.gt_label for sample in many['data_samples']]
    assert torch.equal(torch.cat(labels), one['data_samples'][0].gt_label)


def test_unbatched_training_takes_batch_augments(root: str) -> None:
    preprocessor = ClsDataPreprocessor(
        num_classes=4,
        batch_augments=dict(augments=dict(type='Mixup', alpha=1.0)),
    )
    items = build(root, batched=False).__getitems__([1, 8, 3])
    for collate in (pseudo_collate, keep_batch):
        data = preprocessor(collate(items), True)
        assert data['inputs'].shape == (3, 3, 32, 32)
        assert data['data_samples'][0].gt_score.shape == (4,)


def test_a_single_image_is_drawn_too(root: str) -> None:
    """Tools that browse ask for one at a time."""
    images, labels = raw(root)
    dataset = build(root)
    torch.manual_seed(3)
    item = dataset[6]
    torch.manual_seed(3)
    crops = draw_crops(1, 4, 0.5)
    expected = crop_and_flip(images[[6]], crops, 4)[0]
    assert torch.equal(item['inputs'], expected)
    assert item['data_samples'].gt_label.tolist() == [labels[6]]


def test_what_is_beyond_the_end_is_an_index_error(root: str) -> None:
    dataset = build(root)
    for index in (40, -41):
        with pytest.raises(IndexError, match=f'no image {index} among 40'):
            dataset[index]
        with pytest.raises(IndexError):
            dataset.__getitems__([0, index])
    # So that a plain loop over it ends.
    assert len(list(build(root, 'test'))) == 40
    assert dataset[np.int64(39)]['data_samples'].sample_idx == 39


@pytest.mark.parametrize(('fraction', 'count'), [(0.25, 3), (0.5, 5)])
def test_a_fraction_of_each_class(
    root: str, fraction: float, count: int
) -> None:
    images, labels = raw(root)
    options = dict(fraction=fraction, crop_padding=0, flip=0)
    dataset = build(root, **options)
    batch = dataset.__getitems__(range(len(dataset)))
    kept = batch['data_samples'][0].gt_label
    assert torch.bincount(kept).tolist() == [count] * 4
    by_pixels = {image.numpy().tobytes(): i for i, image in enumerate(images)}
    places = [by_pixels[i.numpy().tobytes()] for i in batch['inputs']]
    assert places == sorted(set(places))
    assert [labels[i] for i in places] == kept.tolist()
    again, other = (
        build(root, **options, fraction_seed=seed).__getitems__(range(4))
        for seed in (0, 1)
    )
    assert torch.equal(again['inputs'], batch['inputs'][:4])
    assert not torch.equal(other['inputs'], batch['inputs'][:4])


def test_classes_are_relabelled_in_the_order_given(root: str) -> None:
    images, labels = raw(root)
    dataset = build(root, classes=['class03', 1], crop_padding=0, flip=0)
    assert dataset.metainfo['classes'] == ('class03', 'class01')
    assert dataset.num_classes == 2
    members = [i for i, label in enumerate(labels) if label in (1, 3)]
    batch = dataset.__getitems__(range(len(dataset)))
    assert torch.equal(batch['inputs'], images[members])
    expected = [{3: 0, 1: 1}[labels[i]] for i in members]
    assert batch['data_samples'][0].gt_label.tolist() == expected
    assert build(root, classes=2).metainfo['classes'] == (
        'class00',
        'class01',
    )


def test_classes_without_images_count_but_cannot_be_alone(
    root: str, tmp_path: Path
) -> None:
    """``meta`` may name more classes than a file has."""
    write_cifar100(tmp_path / 'set', num_classes=6, per_class=2)
    for split in ('train', 'test'):
        name = f'cifar-100-python/{split}'
        (tmp_path / 'set' / name).write_bytes(Path(root, name).read_bytes())
    dataset = build(str(tmp_path / 'set'), fraction=0.5)
    assert dataset.num_classes == 6
    assert len(dataset) == 20
    with pytest.raises(ConfigError, match='no image of the classes'):
        build(str(tmp_path / 'set'), classes=[5])


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (dict(split='val'), ('dataset.split', 'train, test')),
        (dict(crop_padding=-1), ('train_dataloader.dataset.crop_padding',)),
        (dict(crop_padding=1.5), ('train_dataloader.dataset.crop_padding',)),
        (dict(flip=1.1), ('train_dataloader.dataset.flip', 'up to 1')),
        (dict(batched=1), ('train_dataloader.dataset.batched',)),
        (dict(fraction=0), ('train_dataloader.dataset.fraction', 'over 0')),
        (dict(fraction=25), ('train_dataloader.dataset.fraction',)),
        (dict(fraction_seed=-1), ('dataset.fraction_seed',)),
        (dict(classes=5), ('train_dataloader.dataset.classes', 'up to 4')),
        (dict(classes=5, split='test'), ('val_dataloader.dataset.classes',)),
        (dict(device='gpu'), ('train_dataloader.dataset.device', 'cuda:1')),
        (dict(device=3.5), ('train_dataloader.dataset.device',)),
        (dict(data_root='no'), ('train_dataloader.dataset.data_root', 'no')),
        (
            dict(data_root='no', split='test'),
            ('val_dataloader.dataset.data_root', 'no'),
        ),
    ],
)
def test_options_are_checked(root: str, options, words) -> None:
    with pytest.raises(ConfigError) as caught:
        CIFAR100(**{'data_root': root, 'device': 'cpu', **options})
    for word in words:
        assert word in str(caught.value)


def test_it_lies_where_mmengine_puts_the_model(root, monkeypatch) -> None:
    monkeypatch.setattr('mmtst.datasets.cifar100.get_device', lambda: 'meta')
    assert CIFAR100(root)._images.device.type == 'meta'
    assert CIFAR100(root, device='cpu')._images.device.type == 'cpu'


def test_workers_cannot_load_from_a_device(root: str) -> None:
    dataset = build(root)
    loader = DataLoader(
        dataset, batch_size=4, num_workers=1, collate_fn=keep_batch
    )
    assert len(list(loader)) == 10
    dataset.device = torch.device('cuda')
    with pytest.raises(ConfigError) as caught:
        list(loader)
    text = str(caught.value)
    assert 'train_dataloader.num_workers' in text
    assert 'set num_workers=0' in text


@pytest.mark.gpu
def test_a_gpu_gives_the_same_pixels(root: str) -> None:
    batches = []
    for device in ('cpu', 'cuda'):
        dataset = build(root, device=device)
        torch.manual_seed(0)
        batches.append(dataset.__getitems__(range(40)))
    one, two = batches
    assert two['inputs'].is_cuda
    assert torch.equal(one['inputs'], two['inputs'].cpu())
    labels = [batch['data_samples'][0].gt_label for batch in batches]
    assert torch.equal(labels[0], labels[1].cpu())


def loader_of(dataset: Any, **options: Any) -> DataLoader[Any]:
    return DataLoader(
        dataset, **{'batch_size': 8, 'collate_fn': keep_batch, **options}
    )


def pixels(batches: Any) -> list[tuple[Tensor, Tensor]]:
    return [
        (b['inputs'], torch.cat([s.gt_label for s in b['data_samples']]))
        for b in batches
    ]


def assert_same(one: Any, two: Any) -> None:
    for a, b in zip(one, two, strict=True):
        assert torch.equal(a[0], b[0])
        assert torch.equal(a[1], b[1])


@pytest.mark.parametrize('batched', [True, False])
def test_seeded_batches_are_the_same_with_workers(
    root: str, batched: bool
) -> None:
    found = []
    for workers in (0, 2):
        dataset = build(root, batched=batched)
        sampler = DefaultSampler(dataset, shuffle=True, seed=1)
        batches = SeededBatches(BatchSampler(sampler, 8, False), 5)
        loader = with_batches(loader_of(dataset, num_workers=workers), batches)
        torch.manual_seed(workers)
        found.append(pixels(loader))
    assert len(found[0]) == 5
    assert_same(*found)


def test_a_search_has_the_same_batches_again(root: str) -> None:
    dataset = build(root)
    train = loader_of(dataset)
    found = []
    before = torch.get_rng_state()
    for seed in (3, 3, 4):
        loader = build_search_loader(
            train, num_batches=7, batch_size=8, seed=seed
        )
        with opened(loader) as batches:
            found.append(pixels(batches))
    assert torch.equal(torch.get_rng_state(), before)
    assert [len(batch[1]) for batch in found[0]] == [8] * 7
    assert_same(found[0], found[1])
    assert not torch.equal(found[0][0][0], found[2][0][0])


def test_a_subset_of_torch_loads_batches_too(root: str) -> None:
    (batch,) = loader_of(Subset(build(root), [4, 2, 9]))
    assert batch['data_samples'][0].sample_idx.tolist() == [4, 2, 9]


@MODELS.register_module()
class TinyBackbone(nn.Module):
    """Gives the mean of some features, and notes what it was trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 5, stride=3),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> tuple[Tensor]:
        if self.training:
            self.seen.append(images.detach().clone())
        return (self.layers(images),)


@pytest.fixture
def make_runner(
    root: str, tmp_path: Path, monkeypatch: Any
) -> Iterator[Callable[..., Runner]]:
    install_safe_loading()
    monkeypatch.setenv('CIFAR100_ROOT', root)

    def make(**more: Any) -> Runner:
        cfg = Config.fromfile(CONFIGS / 'cifar100.py')
        cfg.train_dataloader.batch_size = 16
        cfg.val_dataloader.batch_size = 30
        cfg.val_evaluator.topk = (1, 2)
        head = dict(type='LinearClsHead', num_classes=4, in_channels=8)
        cfg.merge_from_dict(
            dict(
                work_dir=str(tmp_path / 'work'),
                experiment_name=uuid.uuid4().hex,
                default_scope='mmpretrain',
                custom_imports=dict(imports=['mmtst']),
                data_preprocessor=dict(num_classes=4),
                model=dict(
                    type='ImageClassifier',
                    backbone=dict(type='TinyBackbone'),
                    head=head,
                ),
                optim_wrapper=dict(
                    optimizer=dict(type='SGD', lr=0.1, momentum=0.9)
                ),
                train_cfg=dict(by_epoch=True, max_epochs=2),
                val_cfg=dict(),
                default_hooks=dict(
                    exact_resume=dict(type='mmtst.ExactResumeHook'),
                    checkpoint=dict(type='CheckpointHook', interval=1),
                ),
                randomness=dict(seed=7),
                **more,
            )
        )
        cfg.pop('test_dataloader')
        cfg.pop('test_evaluator')
        return Runner.from_cfg(cfg)

    yield make
    logging.shutdown()
    for kind in (MMLogger, Visualizer, DefaultScope, MessageHub):
        kind._instance_dict.clear()


def test_a_resumed_training_is_the_uninterrupted_one(make_runner) -> None:
    whole = make_runner()
    whole.train()
    # 40 images in batches of 16.
    seen = whole.model.backbone.seen
    assert [len(images) for images in seen] == [16, 16, 8] * 2
    torch.manual_seed(99)
    again = make_runner(
        load_from=str(Path(whole.work_dir) / 'epoch_1.pth'), resume=True
    )
    again.train()
    resumed = again.model.backbone.seen
    assert len(resumed) == 3
    for one, two in zip(seen[3:], resumed, strict=True):
        assert torch.equal(one, two)
    states = [runner.model.state_dict() for runner in (whole, again)]
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name
    assert not torch.equal(seen[0], seen[3])


def test_validation_counts_every_image(make_runner) -> None:
    runner = make_runner()
    metrics = runner.val()
    dataset = runner.val_dataloader.dataset
    runner.model.eval()
    with torch.no_grad():
        items = [dataset[i] for i in range(len(dataset))]
        data = runner.model.data_preprocessor(pseudo_collate(items))
        scores = runner.model(data['inputs'])
    labels = torch.tensor(raw(dataset_root(runner), 'test')[1])
    right = (scores.argmax(1) == labels).double().mean()
    assert metrics['accuracy/top1'] == pytest.approx(100 * float(right))
    assert metrics['accuracy/top2'] >= metrics['accuracy/top1']


def dataset_root(runner: Runner) -> str:
    return str(runner.cfg.val_dataloader.dataset.data_root)


@pytest.mark.parametrize(
    ('name', 'variable', 'classes'),
    [('cifar100', 'CIFAR100_ROOT', 100), ('digits', 'DIGITS_ROOT', 10)],
)
def test_configs_read_the_data_from_where_they_say(
    root: str, monkeypatch: Any, name: str, variable: str, classes: int
) -> None:
    monkeypatch.delenv(variable, raising=False)
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    loaders = ('train_dataloader', 'val_dataloader', 'test_dataloader')
    for loader in loaders:
        assert cfg[loader].dataset.data_root == f'data/{name}'
        assert cfg[loader].num_workers == 0
    assert cfg.data_preprocessor.num_classes == classes
    with pytest.raises(ConfigError, match='data root is not there'):
        check_data(cfg)
    assert set_data_root(cfg, root) == 3
    check_data(cfg)
    monkeypatch.setenv(variable, root)
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    for loader, count in zip(loaders, (40, 40, 40), strict=True):
        assert cfg[loader].dataset.data_root == root
        cfg[loader].dataset.device = 'cpu'
        built = Runner.build_dataloader(cfg[loader], seed=0)
        assert sum(len(batch['inputs']) for batch in built) == count
    options = cfg.train_dataloader.dataset
    assert (
        cfg.train_dataloader.batch_size,
        options.crop_padding,
        options.flip,
    ) == ((128, 4, 0.5) if name == 'cifar100' else (32, 4, 0))


def test_the_normalization_is_the_literatures(make_runner) -> None:
    """In RGB: (0.5071, 0.4867, 0.4408) and (0.2675, 0.2565, 0.2761)."""
    preprocessor = make_runner().model.data_preprocessor
    # Red 255, green 0, blue 51: 1.0, 0.0 and 0.2.
    image = torch.tensor([255, 0, 51], dtype=torch.uint8).view(1, 3, 1, 1)
    got = preprocessor(dict(inputs=image))['inputs'].flatten()
    expected = [
        (1 - 0.5071) / 0.2675,
        (0 - 0.4867) / 0.2565,
        (0.2 - 0.4408) / 0.2761,
    ]
    torch.testing.assert_close(got, torch.tensor(expected))


def test_the_tiny_set_can_be_learned(root: str) -> None:
    """By the nearest of the mean colors of the classes."""
    means = []
    images, labels = raw(root)
    given = torch.tensor(labels)
    colors = images.float().mean((2, 3))
    means = torch.stack([colors[given == i].mean(0) for i in range(4)])
    images, labels = raw(root, 'test')
    distances = torch.cdist(images.float().mean((2, 3)), means)
    right = distances.argmin(1) == torch.tensor(labels)
    assert right.float().mean() > 0.9


def test_inferencers_of_mmpretrain_see_pictures_as_the_set_gives_them(
    root: str,
) -> None:
    """They read pictures as BGR; the set gives RGB."""
    cfg = Config.fromfile(CONFIGS / 'digits.py')
    model = ImageClassifier(backbone=dict(type='LeNet5'))
    model._config = cfg
    cfg.val_dataloader.dataset.data_root = root
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        inferencer = ImageClassificationInferencer(model, device='cpu')
        dataset = DATASETS.build(cfg.val_dataloader.dataset)
    image = dataset[5]['inputs'].cpu()
    picture = image.permute(1, 2, 0).numpy()[:, :, ::-1].copy()
    (batch,) = inferencer.preprocess([picture])
    assert torch.equal(batch['inputs'][0], image)
    large = np.repeat(np.repeat(picture, 2, 0), 2, 1)
    (batch,) = inferencer.preprocess([large])
    assert torch.equal(batch['inputs'][0], image)
