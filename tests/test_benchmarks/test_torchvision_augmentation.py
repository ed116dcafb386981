"""Second views by torchvision: other images, and nothing else is touched."""

from __future__ import annotations

import pytest
import torch
from mmpretrain.models import ClsDataPreprocessor
from torchvision_augmentation import (
    TorchvisionEncoder,
    TorchvisionPreprocessor,
)

from mmtst.utils.errors import ConfigError

PREPROCESSOR = dict(mean=[85.0] * 3, std=[60.0] * 3)


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    shape = (8, 3, 32, 32)
    return torch.randint(0, 256, shape, generator=generator).to(torch.uint8)


@pytest.fixture
def encoder():
    encoder = TorchvisionEncoder('RandAugment', channel_order='rgb')
    encoder.bind(ClsDataPreprocessor(**PREPROCESSOR))
    return encoder


def draw(encoder, seed, count=8):
    generator = torch.Generator().manual_seed(seed)
    return encoder.resolve(
        encoder.draw(torch.full((count, 2), 32.0), generator)
    )


def test_views_are_those_of_their_draw(encoder, images):
    inputs = (images.float() - 85) / 60
    views = encoder.augment(inputs, draw(encoder, 0))
    again = encoder.augment(inputs, draw(encoder, 0))
    other = encoder.augment(inputs, draw(encoder, 1))
    assert views.equal(again)
    assert not views.equal(other)
    changed = (views - inputs).abs().amax(dim=(1, 2, 3)) > 1e-3
    # Some of an image's two operators are the identity.
    assert int(changed.sum()) >= 4
    raw = encoder.image_space.to_raw(views) * 255
    torch.testing.assert_close(raw, raw.round(), rtol=0, atol=1e-3)


def test_an_identity_gives_the_images_back(encoder, images):
    encoder.transform = torch.nn.Identity()
    inputs = (images.float() - 85) / 60
    views = encoder.augment(inputs, draw(encoder, 0))
    torch.testing.assert_close(views, inputs, rtol=0, atol=1e-5)


def test_labels_and_the_random_state_stay(encoder, images):
    record = draw(encoder, 0)
    assert float(record.gates.abs().max()) == 0
    before = torch.get_rng_state()
    encoder.augment(images.float(), record)
    assert before.equal(torch.get_rng_state())


def test_an_unknown_transform_is_refused():
    with pytest.raises(ConfigError, match='RandAugmnet'):
        TorchvisionEncoder('RandAugmnet')


def test_a_preprocessor_transforms_in_training_alone(images):
    torch.manual_seed(0)
    own = TorchvisionPreprocessor('TrivialAugmentWide', **PREPROCESSOR)
    plain = ClsDataPreprocessor(**PREPROCESSOR)
    data = {'inputs': images}
    expected = plain(data)['inputs']
    assert own(data)['inputs'].equal(expected)
    changed = own(data, training=True)['inputs'] != expected
    assert int(changed.flatten(1).any(dim=1).sum()) >= 4
    assert data['inputs'] is images
