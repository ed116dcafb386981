"""Test that one sample for a batch trains as one for each image does."""

from __future__ import annotations

import copy
import doctest
import pickle
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from mmpretrain.models import ClsDataPreprocessor, LinearClsHead
from mmpretrain.structures import DataSample

from mmtst.structures import LabelBatch, label_batch
from mmtst.utils.errors import ConfigError

LABELS = torch.tensor([3, 0, 3, 1])


def make(labels: torch.Tensor = LABELS, **fields: torch.Tensor) -> LabelBatch:
    batch = LabelBatch(metainfo=dict(img_shape=(32, 32), num_classes=4))
    batch.set_gt_label(labels)
    batch.set_data(fields)
    return batch


def singles(labels: torch.Tensor = LABELS) -> list[DataSample]:
    return [DataSample().set_gt_label(int(label)) for label in labels]


def test_the_example_holds() -> None:
    done = doctest.testmod(label_batch)
    assert done.attempted > 0 and done.failed == 0


def test_it_keeps_its_labels_as_they_are() -> None:
    batch = make(sample_idx=torch.arange(4))
    assert batch.gt_label is LABELS
    assert batch.num_images == len(batch) == 4
    assert set(batch.keys()) == {'gt_label', 'sample_idx'}
    assert batch.metainfo == dict(img_shape=(32, 32), num_classes=4)
    empty = LabelBatch()
    assert empty.num_images == len(empty) == 0
    assert empty


@pytest.mark.parametrize(
    'copied',
    [
        copy.deepcopy,
        lambda batch: batch.clone(),
        lambda batch: batch.new(),
        lambda batch: batch.to('cpu'),
        lambda batch: batch.cpu(),
        lambda batch: pickle.loads(pickle.dumps(batch)),
        # As results of a loader's workers travel.
        lambda batch: pickle.loads(ForkingPickler.dumps(batch)),
    ],
)
def test_copies_are_equal(copied) -> None:
    batch = make(sample_idx=torch.arange(4))
    other = copied(batch)
    assert type(other) is LabelBatch
    assert other is not batch
    assert torch.equal(other.gt_label, LABELS)
    assert torch.equal(other.sample_idx, torch.arange(4))
    assert other.metainfo == batch.metainfo


def test_it_moves_between_devices_and_to_numpy() -> None:
    moved = make().to('meta')
    assert moved.gt_label.device.type == 'meta'
    assert moved.num_images == 4
    assert isinstance(make().numpy().gt_label, np.ndarray)


def test_a_deep_copy_is_independent() -> None:
    batch = make(LABELS.clone())
    other = copy.deepcopy(batch)
    batch.gt_label.zero_()
    assert torch.equal(other.gt_label, LABELS)


def test_the_head_has_the_loss_of_single_samples() -> None:
    torch.manual_seed(0)
    head = LinearClsHead(num_classes=4, in_channels=5, cal_acc=True)
    features = (torch.randn(4, 5),)
    one = head.loss(features, [make()])
    many = head.loss(features, singles())
    assert one.keys() == many.keys()
    assert torch.equal(one['loss'], many['loss'])
    assert torch.equal(one['accuracy_top-1'][0], many['accuracy_top-1'][0])


def test_two_in_a_list_are_twice_as_many() -> None:
    torch.manual_seed(0)
    head = LinearClsHead(num_classes=4, in_channels=5)
    features = (torch.randn(6, 5),)
    more = torch.tensor([2, 2])
    both = head.loss(features, [make(), make(more)])
    joined = head.loss(features, singles(torch.cat([LABELS, more])))
    assert torch.equal(both['loss'], joined['loss'])


def test_the_preprocessor_takes_it() -> None:
    preprocessor = ClsDataPreprocessor(mean=[1.0] * 3, std=[2.0] * 3)
    images = torch.full((6, 3, 2, 2), 5, dtype=torch.uint8)
    samples = [make(), make(torch.tensor([2, 1]))]
    data = preprocessor(dict(inputs=images, data_samples=samples), True)
    assert torch.equal(data['inputs'], torch.full((6, 3, 2, 2), 2.0))
    kept = [sample.gt_label.tolist() for sample in data['data_samples']]
    assert kept == [LABELS.tolist(), [2, 1]]


def test_one_hot_targets_are_refused_with_the_way_out() -> None:
    preprocessor = ClsDataPreprocessor(to_onehot=True, num_classes=4)
    images = torch.zeros((4, 3, 2, 2), dtype=torch.uint8)
    with pytest.raises(ConfigError, match='mixup') as caught:
        preprocessor(dict(inputs=images, data_samples=[make()]), True)
    text = str(caught.value)
    assert 'train_dataloader.dataset.batched' in text
    assert 'set batched=False' in text


@pytest.mark.parametrize('kind', ['Mixup', 'CutMix'])
def test_batch_augments_do_not_pass_in_silence(kind: str) -> None:
    """They mix the scores before the sample is asked to take them."""
    preprocessor = ClsDataPreprocessor(
        batch_augments=dict(augments=dict(type=kind, alpha=1.0)),
        num_classes=4,
    )
    images = torch.zeros((4, 3, 2, 2), dtype=torch.uint8)
    with pytest.raises((ConfigError, IndexError)):
        preprocessor(dict(inputs=images, data_samples=[make()]), True)


def test_predictions_are_refused_not_cut_to_the_first_image() -> None:
    head = LinearClsHead(num_classes=4, in_channels=5)
    with pytest.raises(ConfigError, match='predictions need'):
        head.predict((torch.randn(4, 5),), [make()])


@pytest.mark.parametrize('name', ['gt_score', 'pred_score', 'pred_label'])
@pytest.mark.parametrize('way', ['method', 'attribute', 'field', 'data'])
def test_no_way_leads_to_what_each_image_has(name: str, way: str) -> None:
    batch = make()
    value = torch.zeros(4)
    with pytest.raises(ConfigError, match='batched=False'):
        if way == 'method':
            getattr(batch, f'set_{name}')(value)
        elif way == 'attribute':
            setattr(batch, name, value)
        elif way == 'field':
            batch.set_field(value, name)
        else:
            batch.set_data({name: value})
    assert name not in batch


@pytest.mark.parametrize('labels', [torch.zeros(2, 2), torch.tensor(1), 3])
def test_labels_are_a_vector(labels) -> None:
    with pytest.raises(ConfigError, match='vector'):
        LabelBatch().gt_label = labels
