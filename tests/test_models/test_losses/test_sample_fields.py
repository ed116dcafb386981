"""Check what is read off single and batched samples."""

import pytest
import torch
from mmpretrain.structures import DataSample

from mmtst.models.losses.sample_fields import sample_numbers


def sample(value):
    return DataSample(sample_idx=value)


def read(*samples):
    return sample_numbers(
        samples, 'sample_idx', 'SomeLoss', 'pack it'
    ).tolist()


def test_single_and_batched_samples_are_joined_in_order():
    assert read(sample(torch.tensor(7)), sample(torch.tensor([2]))) == [7, 2]
    assert read(sample(torch.tensor([3, 1, 4]))) == [3, 1, 4]
    mixed = sample(torch.tensor([3, 1])), sample(torch.tensor(5))
    assert read(*mixed) == [3, 1, 5]


def test_numbers_of_the_metainfo_count_too():
    # So mmpretrain's own PackInputs has them.
    one = DataSample(metainfo=dict(sample_idx=9))
    assert read(one, sample(torch.tensor(0))) == [9, 0]


def test_labels_are_read_as_mmpretrain_sets_them():
    samples = [DataSample().set_gt_label(label) for label in (4, 0)]
    found = sample_numbers(samples, 'gt_label', 'SomeLoss', '')
    assert found.tolist() == [4, 0] and found.dtype == torch.long


def test_what_is_missing_or_no_whole_number_is_refused():
    with pytest.raises(ValueError, match='SomeLoss: .* no sample_idx; pack'):
        read(sample(torch.tensor(1)), DataSample())
    with pytest.raises(ValueError, match='float32'):
        read(sample(torch.tensor([0.5])))
    with pytest.raises(ValueError, match=r'\(1, 2\)'):
        read(sample(torch.tensor([[1, 2]])))
    with pytest.raises(ValueError, match='no samples'):
        read()
