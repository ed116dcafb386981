"""What is timed is the same thing, and the figures are what they say."""

from __future__ import annotations

from pathlib import Path

import pytest
import speed
import torch
from _plain_augmentation import augment_plainly
from _speed_tasks import BATCHES, augment_tasks
from mmdet.models import DetDataPreprocessor

from mmtst.augmentation import AugmentationEncoder


@pytest.mark.parametrize('composition', ['image_sum', 'matrix_sum'])
@pytest.mark.parametrize('preset', ['default', 'official'])
def test_one_by_one_gives_the_same_images(composition, preset):
    encoder = AugmentationEncoder(
        preset=preset, composition=composition, num_operators=6
    )
    encoder.color_first = False
    encoder.bind(DetDataPreprocessor(mean=[120] * 3, std=[60] * 3))
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(8, 3, 20, 28, generator=generator)
    sizes = torch.tensor([[20.0, 28.0], [16.0, 28.0], [20.0, 21.0]] * 3)[:8]
    record = encoder.resolve(encoder.draw(sizes, generator))
    expected = encoder.augment(images, record)
    found = augment_plainly(encoder, images, record)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert bool((found - images).abs().amax((1, 2, 3)).gt(0.01).any())


def test_every_way_of_augmenting_runs():
    shape = (2, (32, 32), (24, 32))
    tasks = augment_tasks('det', shape, 'cpu')
    assert {'augment, folded', 'gradient, one by one'} <= set(tasks)
    for task in tasks.values():
        task()
    assert all(BATCHES.values())


def test_ratios_are_of_the_same_round(monkeypatch):
    times = {'a': [1.0, 2.0, 10.0], 'b': [2.0, 4.0, 30.0]}
    monkeypatch.setattr(speed, 'measure', lambda *_: times)
    tasks = dict.fromkeys('ab', lambda: None)
    found = speed.compare(tasks, 'a', 3, 'cpu')
    assert found['a']['ratio'] == {'median': 1.0, 'iqr': 0.0}
    assert found['b']['ratio'] == {'median': 2.0, 'iqr': 1.0}
    assert found['b']['seconds']['median'] == 4.0
    assert '| b | 4000.0 | 2.00 (+- 0.50) |' in speed.table('', 'a', found)


@pytest.mark.skipif(
    not Path('/proc/self/clear_refs').exists(), reason='needs Linux'
)
def test_memory_is_what_a_task_adds():
    held = torch.ones(2**22)
    used = speed.memory_mb(lambda: torch.ones(2**24).sum(), 'cpu')
    assert used == pytest.approx(64, abs=12)
    assert len(held) == 2**22
