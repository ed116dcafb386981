from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from PIL import Image

from mmtst.augmentation.prior_images import read_images, synthetic_images
from mmtst.utils.errors import ConfigError


def test_synthetic_images_are_a_function_of_the_seed():
    state = torch.get_rng_state()
    first = synthetic_images(5, 16, 3)
    assert first.equal(synthetic_images(5, 16, 3))
    assert not first.equal(synthetic_images(5, 16, 4))
    assert torch.get_rng_state().equal(state)


def test_synthetic_images_look_like_photographs_in_numbers():
    """8-bit, colored, from black to white, smooth over one pixel."""
    images = synthetic_images(96, 32, 0)
    assert images.shape == (96, 3, 32, 32)
    assert images.dtype == torch.float64
    levels = images * 255
    torch.testing.assert_close(levels, levels.round())
    assert images.min() == 0
    assert images.max() == 1
    assert images.mean().item() == pytest.approx(0.5, abs=0.06)
    assert images.std().item() == pytest.approx(0.26, abs=0.04)
    spread = images.amax(1) - images.amin(1)
    assert 0.05 < spread.mean().item() < 0.3
    step = (images[..., 1:] - images[..., :-1]).square().mean().sqrt()
    # White noise of that deviation would have 0.37.
    assert 0.04 < step.item() < 0.15


def test_tiles_come_whole_and_once(tmp_path):
    """A mosaic of tiles, each of one color, its number."""
    numbers = np.arange(12).reshape(3, 4)
    mosaic = np.kron(numbers, np.ones((8, 8))).astype(np.uint8)
    Image.fromarray(np.stack([mosaic] * 3, -1)).save(tmp_path / 'a.png')
    tiles = read_images(tmp_path, 12, 8, tile=8)
    assert tiles.shape == (12, 3, 8, 8)
    values = (tiles * 255).round()
    assert values.amin((1, 2, 3)).equal(values.amax((1, 2, 3)))
    assert sorted(values[:, 0, 0, 0].tolist()) == list(range(12))
    # Fewer than asked for where there are no more.
    assert len(read_images(tmp_path, 20, 8, tile=8)) == 12


def test_patches_come_evenly_from_all_files_in_rgb(tmp_path):
    folder = tmp_path / 'deep'
    folder.mkdir()
    for name, color in (('a.png', (200, 0, 0)), ('b.webp', (0, 0, 200))):
        Image.new('RGB', (40, 30), color).save(folder / name, lossless=True)
    (folder / 'notes.txt').write_text('no image')
    patches = read_images(tmp_path, 6, 16)
    assert patches.shape == (6, 3, 16, 16)
    red, blue = patches[:, 0, 0, 0], patches[:, 2, 0, 0]
    assert int((red > 0.5).sum()) == int((blue > 0.5).sum()) == 3
    # A small image is enlarged.
    assert read_images(tmp_path, 2, 64).shape == (2, 3, 64, 64)


def test_patches_are_a_function_of_the_seed(tmp_path, generator):
    noise = torch.randint(256, (50, 50, 3), generator=generator)
    Image.fromarray(noise.byte().numpy()).save(tmp_path / 'a.png')
    first = read_images(tmp_path, 4, 8, seed=1)
    assert first.equal(read_images(tmp_path, 4, 8, seed=1))
    assert not first.equal(read_images(tmp_path, 4, 8, seed=2))


def test_missing_and_broken_images_are_named(tmp_path):
    with pytest.raises(ConfigError, match='no images'):
        read_images(tmp_path, 4, 8)
    (tmp_path / 'a.png').write_bytes(b'nothing')
    with pytest.raises(ConfigError, match='cannot be read') as caught:
        read_images(tmp_path, 4, 8)
    assert 'a.png' in str(caught.value)


@pytest.mark.parametrize('end', [20, 60, 200, -100])
@pytest.mark.parametrize('kind', ['png', 'jpeg', 'webp', 'bmp'])
def test_images_cut_short_are_named(tmp_path, kind, end):
    noise = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    path = tmp_path / f'a.{kind}'
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:end])
    with pytest.raises(ConfigError, match='cannot be read') as caught:
        read_images(tmp_path, 4, 8)
    assert path.name in str(caught.value)


def test_a_bomb_of_pixels_is_named(tmp_path, monkeypatch):
    Image.new('RGB', (64, 64)).save(tmp_path / 'a.png')
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
    with pytest.raises(ConfigError, match='cannot be read.*bomb'):
        read_images(tmp_path, 4, 8)


def test_what_holds_no_tile_or_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / 'pipe.png')
    (tmp_path / 'folder.png').mkdir()
    with pytest.raises(ConfigError, match='no images'):
        read_images(tmp_path, 4, 8)
    Image.new('RGB', (16, 16)).save(tmp_path / 'a.png')
    with pytest.raises(ConfigError, match='no tile of this size'):
        read_images(tmp_path, 4, 8, tile=32)
