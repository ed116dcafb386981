"""Make or read the images that Stage I is fitted on and judged by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmtst.utils.errors import ConfigError

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.webp', '.bmp')


def synthetic_images(count: int, side: int, seed: int) -> Tensor:
    """Draw images with the low-level statistics of photographs.

    Each is a background of 1/f noise with one to six flat or textured
    ellipses, rectangles and half planes over it, their colors partly
    correlated between channels, at a random exposure, slightly blurred or
    not, rounded to 8 bits.

    Args:
        count: Number of images.
        side: Height and width in pixels.
        seed: The images are a function of ``count``, ``side`` and this.

    Returns:
        Shape (count, 3, side, side), float64, RGB in [0, 1].
    """
    generator = torch.Generator().manual_seed(seed)
    return _draw_images(count, side, generator)


def read_images(
    folder: str | Path,
    count: int,
    side: int,
    seed: int = 0,
    tile: int | None = None,
) -> Tensor:
    """Read square patches from the images under a folder.

    Args:
        folder: Searched recursively for image files.
        count: Number of patches wanted; taken evenly from the files, at
            random places.
        side: Height and width of a patch in pixels. Images whose short side
            is under it are enlarged.
        seed: Of the choice of places.
        tile: Side of the tiles where the files are mosaics of small images;
            each patch is then one whole tile, resized to ``side``.

    Returns:
        Shape (n, 3, side, side), float64, RGB in [0, 1]; n is ``count``, or
        less where mosaics hold fewer tiles.

    Raises:
        ConfigError: No image under the folder, or a broken one.
    """
    root = Path(folder)
    files = sorted(
        path
        for path in root.rglob('*')
        # A pipe of such a name would be waited for.
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
    )
    if not files:
        raise ConfigError(
            'There are no images to fit or judge a prior on',
            got=str(folder),
            allowed='a folder with files ending in '
            + ', '.join(IMAGE_SUFFIXES),
        )
    rng = np.random.default_rng(seed)
    shares = np.full(len(files), count // len(files))
    shares[rng.permutation(len(files))[: count % len(files)]] += 1
    patches: list[Image.Image] = []
    for path, share in zip(files, shares, strict=True):
        if share == 0:
            continue
        try:
            image = Image.open(path).convert('RGB')
        except Exception as error:
            # Pillow's readers raise of many kinds where bytes are wrong.
            raise ConfigError(
                f'An image cannot be read: {error}', got=str(path)
            ) from error
        boxes = _tile_boxes if tile else _random_boxes
        for box in boxes(image.size, int(share), tile or side, rng):
            patches.append(image.resize((side, side), 2, box))
    if not patches:
        raise ConfigError(
            'The images hold no tile of this size',
            got=f'{len(files)} images, the first {files[0]}',
            allowed=f'mosaics of at least {tile} x {tile} pixels',
        )
    array = np.stack([np.asarray(patch) for patch in patches])
    return torch.from_numpy(array).permute(0, 3, 1, 2).double() / 255


def _tile_boxes(
    size: tuple[int, int], count: int, tile: int, rng: np.random.Generator
) -> list[tuple[int, int, int, int]]:
    """Choose tiles of a mosaic without replacement."""
    columns, rows = size[0] // tile, size[1] // tile
    chosen = rng.permutation(columns * rows)[:count]
    corners = [(i % columns * tile, i // columns * tile) for i in chosen]
    return [(x, y, x + tile, y + tile) for x, y in corners]


def _random_boxes(
    size: tuple[int, int], count: int, side: int, rng: np.random.Generator
) -> list[tuple[int, int, int, int]]:
    """Choose patches of an image at random places."""
    width, height = size
    side = min(side, width, height)
    boxes = []
    for _ in range(count):
        x = int(rng.integers(width - side + 1))
        y = int(rng.integers(height - side + 1))
        boxes.append((x, y, x + side, y + side))
    return boxes


_LAYERS = 6


def _draw_images(count: int, side: int, generator: torch.Generator) -> Tensor:
    """Draw a stack of images, (count, 3, side, side), float64."""

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        value = torch.rand(
            count, *shape, generator=generator, dtype=torch.float64
        )
        return low + (high - low) * value

    images = _textures(count, side, generator)
    row = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    layers = uniform(1, _LAYERS + 1, 1, 1).floor()
    for layer in range(_LAYERS):
        x = row.view(1, 1, -1) - uniform(0, 1, 1, 1)
        y = row.view(1, -1, 1) - uniform(0, 1, 1, 1)
        angle = uniform(0, 3.1416, 1, 1)
        half_u, half_v = uniform(0.05, 0.45, 1, 1), uniform(0.05, 0.45, 1, 1)
        u = (x * angle.cos() + y * angle.sin()) / half_u
        v = (y * angle.cos() - x * angle.sin()) / half_v
        ellipse = (u.square() + v.square()).sqrt() - 1
        rectangle = torch.maximum(u.abs(), v.abs()) - 1
        kind = uniform(0, 3, 1, 1).floor()
        distance = torch.where(
            kind == 0, ellipse, torch.where(kind == 1, rectangle, u)
        )
        softness = uniform(0.5, 2.0, 1, 1) / side
        softness = softness / torch.minimum(half_u, half_v)
        cover = torch.sigmoid(-4 * distance / softness) * (layer < layers)
        filling = _textures(count, side, generator)
        images = torch.lerp(images, filling, cover.unsqueeze(1))
    # Exposure: photographs use the whole range, and clip at both ends.
    axes = (1, 2, 3)
    images = images - images.mean(dim=axes, keepdim=True)
    images = images / images.std(dim=axes, keepdim=True).clamp_min(0.05)
    level, contrast = uniform(0.2, 0.8, 1, 1, 1), uniform(0.1, 0.33, 1, 1, 1)
    images = (level + contrast * images).clamp(0, 1)
    return torch.round(images * 255) / 255


def _textures(count: int, side: int, generator: torch.Generator) -> Tensor:
    """Draw colored 1/f^a fields around random colors."""

    def normal(*shape: int) -> Tensor:
        return torch.randn(
            count, *shape, generator=generator, dtype=torch.float64
        )

    def uniform(low: float, high: float) -> Tensor:
        value = torch.rand(
            count, 1, 1, 1, generator=generator, dtype=torch.float64
        )
        return low + (high - low) * value

    frequency = torch.fft.fftfreq(side, dtype=torch.float64)
    radius = (frequency[:, None].square() + frequency.square()).sqrt()
    radius[0, 0] = 1.0
    spectrum = torch.fft.fft2(normal(4, side, side))
    field = torch.fft.ifft2(spectrum / radius ** uniform(0.7, 1.7)).real
    field = field - field.mean(dim=(2, 3), keepdim=True)
    field = field / field.std(dim=(2, 3), keepdim=True)
    color = field[:, :1] + uniform(0.05, 0.5) * field[:, 1:]
    tint = normal(4, 1, 1)
    base = tint[:, :1] + uniform(0.1, 0.8) * tint[:, 1:]
    fields: Tensor = base + uniform(0.05, 0.8) * color
    return fields
