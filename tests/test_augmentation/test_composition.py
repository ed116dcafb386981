"""Compare with the paper's equations, one image and one operator at a time.

The oracle takes the numbers of the draw and the tensors of the prior; gates,
matrices, sampling and convolutions are its own, in numpy-like float64.
"""

from __future__ import annotations

import math
from dataclasses import replace
from unittest.mock import Mock

import pytest
import torch
import torch.nn.functional as F
import torchvision.transforms.functional as tvf
from mmengine.model import ImgDataPreprocessor
from torch import Tensor

from mmtst.augmentation import (
    AFFINE_OPERATORS,
    MAGNITUDE_OPERATORS,
    OPERATORS,
    AugmentationEncoder,
    AugmentDraw,
    Policy,
    composition,
)
from mmtst.augmentation.composition import sum_warped_images

SIZES = torch.tensor(
    [[18.0, 24.0], [14.0, 24.0], [18.0, 17.0], [16.0, 20.0]],
    dtype=torch.float64,
)
# Exact in float32, which is what a data preprocessor keeps.
MEAN, STD = [123.5, 116.25, 103.5], [58.5, 57.0, 57.25]


class Oracle:
    """Augment one image by the formulas."""

    def __init__(
        self,
        encoder: AugmentationEncoder,
        policy: Policy,
        draw: AugmentDraw,
        index: int,
        tau: float,
        bgr: bool,
    ) -> None:
        self.encoder, self.tau = encoder, tau
        self.bgr = bgr
        self.selected = draw.selected[index].tolist()
        self.height, self.width = map(int, draw.sizes[index].tolist())
        self.center = draw.cutout_center[index].tolist()
        self.shrink = float(draw.shrink[index])
        noise = encoder.encoder_noise_std * draw.encoder_noise[index]
        self.noise = noise.double()
        self.gate = {}
        self.magnitude = {}
        self.apply_gate = {}
        for i, name in enumerate(OPERATORS):
            p = self.sigmoid(float(policy.th_p[i]))
            self.gate[name] = self.bernoulli(
                p, float(draw.gate_noise[index, i])
            )
        for i, name in enumerate(MAGNITUDE_OPERATORS):
            m = self.sigmoid(float(policy.th_m[i]))
            if encoder.magnitude_gate:
                m = self.bernoulli(m, float(draw.magnitude_noise[index, i]))
            self.magnitude[name] = m * float(draw.mirror[index, i])
            self.apply_gate[name] = 1.0
            if encoder.apply_prob < 1:
                odds = encoder.apply_prob / (1 - encoder.apply_prob)
                shifted = math.log(odds) + float(draw.apply_noise[index, i])
                self.apply_gate[name] = self.sigmoid(shifted / tau)

    @staticmethod
    def sigmoid(value: float) -> float:
        return 1 / (1 + math.exp(-value))

    def bernoulli(self, p: float, noise: float) -> float:
        location = {
            'logit': math.log(p) - math.log(1 - p),
            'log': math.log(p),
            'sigmoid_as_logit': p,
        }[self.encoder.gate]
        return self.sigmoid((location + noise) / self.tau)

    def tensors(self, name: str) -> dict[str, Tensor]:
        buffers = self.encoder.meta_encoders[name].named_buffers()
        return {key: value.double() for key, value in buffers}

    def theta(self, name: str) -> Tensor:
        """Return A_i, with its additional gate."""
        t, m = self.tensors(name), self.magnitude[name]
        noise = self.noise[MAGNITUDE_OPERATORS.index(name)]
        identity = torch.eye(2, 3, dtype=torch.float64)
        if 'coefficients' in t:
            m = m + float(noise[0])
            w = math.radians(30) * m
            phi = [m, math.sin(w), math.cos(w) - 1][
                : t['coefficients'].shape[1]
            ]
            phi = torch.tensor(phi, dtype=torch.float64)
            theta = identity + (t['coefficients'] @ phi).view(2, 3)
        else:
            own = torch.tensor([m], dtype=torch.float64)
            inputs = torch.cat([t['feature'], own]) + noise[:7]
            theta = (t['weight'] @ inputs + t['bias']).view(2, 3)
        a = self.apply_gate[name]
        return (1 - a) * identity + a * theta

    def sample(self, image: Tensor, theta: Tensor) -> Tensor:
        """Sample (3, h, w) at theta n, bilinear, zero outside."""
        h, w = image.shape[1:]
        result = torch.zeros_like(image)
        for row in range(h):
            for column in range(w):
                n = torch.tensor(
                    [(2 * column + 1) / w - 1, (2 * row + 1) / h - 1, 1.0],
                    dtype=torch.float64,
                )
                x, y = (theta @ n).tolist()
                x, y = (x + 1) * w / 2 - 0.5, (y + 1) * h / 2 - 0.5
                for j in (math.floor(y), math.floor(y) + 1):
                    for i in (math.floor(x), math.floor(x) + 1):
                        share = (1 - abs(x - i)) * (1 - abs(y - j))
                        if 0 <= i < w and 0 <= j < h:
                            result[:, row, column] += share * image[:, j, i]
        return result

    def color(self, name: str, image: Tensor) -> Tensor:
        """Return f_i of network input (3, h, w), not folded."""
        mean = torch.tensor(MEAN, dtype=torch.float64).view(3, 1, 1)
        std = torch.tensor(STD, dtype=torch.float64).view(3, 1, 1)
        raw = (image * std + mean) / 255
        x = raw.flip(0) if self.bgr else raw
        h, w = x.shape[1:]
        if name == 'Invert':
            f = 1 - x
        elif name == 'Equalize':
            values = (x * 255).round().clamp(0, 255).byte()
            f = tvf.equalize(values).double() / 255
        elif name == 'Cutout':
            f = x.clone()
            fill = mean.flatten() / 255
            fill = fill.flip(0) if self.bgr else fill
            half = self.encoder.cutout_fraction * math.sqrt(h * w) / 2
            for row in range(h):
                for column in range(w):
                    far_x = abs(column + 0.5 - self.center[0] * w)
                    far_y = abs(row + 0.5 - self.center[1] * h)
                    if max(far_x, far_y) < half:
                        f[:, row, column] = fill
        else:
            f = self.learned(name, x)
        f = f.flip(0) if self.bgr else f
        return (255 * f - mean) / std

    def learned(self, name: str, x: Tensor) -> Tensor:
        t, m = self.tensors(name), self.magnitude[name]
        a = self.apply_gate[name]
        noise = self.noise[MAGNITUDE_OPERATORS.index(name)]
        if 'coefficients' in t:
            m = m + float(noise[0])
            first, second = t['coefficients'][int(m < 0)]
            layer = a * (abs(m) * first + m * m * second)
            taps = layer[:, :75].view(3, 3, 5, 5)
            change = F.conv2d(x[None] - 0.5, taps, layer[:, 75], padding=2)
            return x + change[0]
        inputs = torch.cat(
            [t['feature'] + noise, torch.tensor([m], dtype=torch.float64)]
        )
        hidden = torch.sigmoid(t['weight'] @ inputs)
        scale = 1 - a + a * (t['gain'] * (hidden[0] - 0.5) + 1)
        shift = a * (hidden[1] - 0.5)
        inner = (x * scale + shift)[None]
        return F.conv2d(inner, t['convolution'], padding=2)[0]

    def run(self, image: Tensor) -> Tensor:
        image = image[:, : self.height, : self.width]
        names = [
            name
            for name, chosen in zip(OPERATORS, self.selected, strict=True)
            if chosen
        ]
        affine = [name for name in names if name in AFFINE_OPERATORS]
        color = [name for name in names if name not in AFFINE_OPERATORS]
        identity = torch.eye(2, 3, dtype=torch.float64)

        def recolor(x: Tensor) -> Tensor:
            total = x.clone()
            for name in color:
                total += self.gate[name] * (self.color(name, x) - x)
            return total

        if self.encoder.composition == 'image_sum':  # Eq. 5
            total = recolor(image)
            for name in affine:
                step = self.shrink * (self.theta(name) - identity)
                warped = self.sample(image, identity + step)
                total += self.gate[name] * (warped - image)
            return total
        ahat = identity.clone()  # Eq. 6
        for name in affine:
            step = self.theta(name) - identity
            ahat += self.shrink * self.gate[name] * step
        if self.encoder.color_first:
            return self.sample(recolor(image), ahat)
        return recolor(self.sample(image, ahat))  # Eq. 7 and 8


@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(mirror=True),
        dict(composition='image_sum'),
        dict(color_first=True),
        dict(apply_prob=0.6, encoder_noise_std=0.05),
        dict(preset='paper'),
        dict(preset='paper', composition='image_sum'),
        dict(preset='official', mirror=True, apply_prob=0.6),
        dict(preset='official', composition='image_sum'),
        dict(cutout_fraction=0.6, num_operators=2),
    ],
    ids=lambda options: '-'.join(map(str, options.values())) or 'default',
)
@pytest.mark.parametrize('bgr', [False, True])
@pytest.mark.parametrize('tau', [0.05, 1.0])
def test_agrees_with_the_operators_one_by_one(options, bgr, tau, generator):
    if bgr and tau == 1.0:
        return
    encoder = AugmentationEncoder(**{'num_operators': 9, **options}).double()
    encoder.bind(ImgDataPreprocessor(MEAN, STD, bgr_to_rgb=not bgr))
    draw = encoder.draw(SIZES, generator)
    draw = draw.with_shrink(torch.tensor([1, 1, 0.4, 0]).double())
    policy = Policy(
        torch.randn(14, generator=generator).double(),
        torch.randn(11, generator=generator).double(),
    )
    images = torch.randn(4, 3, 18, 24, generator=generator).double()
    record = encoder.resolve(draw, policy, tau)
    result = encoder.augment(images, record)
    for index, (height, width) in enumerate(SIZES.int().tolist()):
        oracle = Oracle(encoder, policy, draw, index, tau, bgr)
        expected = images[index].clone()
        expected[:, :height, :width] = oracle.run(images[index])
        torch.testing.assert_close(
            result[index], expected, rtol=1e-9, atol=1e-9
        )
    assert not result.equal(images)


@pytest.mark.parametrize('name', OPERATORS)
@pytest.mark.parametrize('composition', ['matrix_sum', 'image_sum'])
def test_one_open_operator_gives_the_operator_itself(
    name, composition, generator
):
    """With b = 1 both equations give f(x), and leave other images alone."""
    encoder = AugmentationEncoder(composition=composition).double()
    encoder.bind(ImgDataPreprocessor(MEAN, STD, bgr_to_rgb=True))
    draw = encoder.draw(SIZES, generator, operators=[name])
    chosen = draw.selected & torch.tensor([[True], [False], [True], [False]])
    noise = torch.full_like(draw.gate_noise, 1e3)
    draw = replace(draw, selected=chosen, gate_noise=noise)
    policy = Policy(torch.zeros(14).double(), torch.ones(11).double())
    images = torch.randn(4, 3, 18, 24, generator=generator).double()
    result = encoder.augment(images, encoder.resolve(draw, policy))
    assert result[[1, 3]].equal(images[[1, 3]])
    for index in (0, 2):
        height, width = SIZES[index].int().tolist()
        oracle = Oracle(encoder, policy, draw, index, 0.05, False)
        valid = images[index, :, :height, :width]
        if name in AFFINE_OPERATORS:
            expected = oracle.sample(valid, oracle.theta(name))
        else:
            expected = oracle.color(name, valid)
        got = result[index, :, :height, :width]
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
        assert not got.allclose(valid)


def test_only_images_with_an_open_linear_operator_are_convolved(
    generator, monkeypatch
):
    encoder = AugmentationEncoder().double()
    encoder.bind(ImgDataPreprocessor(MEAN, STD, bgr_to_rgb=True))
    draw = encoder.draw(SIZES, generator)
    chosen = torch.zeros(4, 14, dtype=torch.bool)
    for index, name in enumerate(('Cutout', 'Color', 'Equalize', 'Invert')):
        chosen[index, OPERATORS.index(name)] = True
    # Gates of one half, which have a gradient.
    noise = torch.zeros_like(draw.gate_noise)
    draw = replace(draw, selected=chosen, gate_noise=noise)
    policy = Policy(torch.zeros(14).double(), torch.ones(11).double())
    images = torch.randn(4, 3, 18, 24, generator=generator).double()
    spy = Mock(wraps=composition.convolve)
    monkeypatch.setattr(composition, 'convolve', spy)
    result = encoder.augment(images, encoder.resolve(draw, policy))
    ((_, sizes, _, _), _) = spy.call_args
    assert sizes.equal(SIZES[[1, 3]])
    for index, (height, width) in enumerate(SIZES.int().tolist()):
        oracle = Oracle(encoder, policy, draw, index, 0.05, False)
        expected = images[index].clone()
        expected[:, :height, :width] = oracle.run(images[index])
        torch.testing.assert_close(
            result[index], expected, rtol=1e-9, atol=1e-9
        )

    def weighted(th_p, th_m):
        record = encoder.resolve(draw, Policy(th_p, th_m))
        return (encoder.augment(images, record) * images.flip(0)).sum()

    leaves = policy.leaf()
    gradients = torch.autograd.grad(weighted(*leaves), leaves)
    assert gradients[0].ne(0).tolist() == chosen.any(dim=0).tolist()
    assert torch.autograd.gradcheck(weighted, tuple(leaves))


def test_gates_weigh_differences(generator):
    """Half-open Invert gives mid-gray: x + (1 - 2 x) / 2."""
    encoder = AugmentationEncoder().double()
    encoder.bind(ImgDataPreprocessor(MEAN, STD, bgr_to_rgb=True))
    draw = encoder.draw(SIZES, generator, operators=['Invert'])
    draw = replace(draw, gate_noise=torch.zeros_like(draw.gate_noise))
    images = torch.randn(4, 3, 18, 24, generator=generator).double()
    record = encoder.resolve(draw)
    raw = encoder.image_space.to_raw(encoder.augment(images, record))
    for index, (height, width) in enumerate(SIZES.int().tolist()):
        valid = raw[index, :, :height, :width]
        torch.testing.assert_close(valid, torch.full_like(valid, 0.5))


def test_a_record_for_the_matrix_sum_is_refused_by_the_image_sum(generator):
    encoder = AugmentationEncoder()
    record = encoder.resolve(encoder.draw(SIZES, generator))
    with pytest.raises(ValueError, match='resolved for matrix_sum'):
        sum_warped_images(torch.zeros(4, 3, 18, 24), record, torch.zeros(3))


@pytest.mark.gpu
@pytest.mark.parametrize('composition', ['matrix_sum', 'image_sum'])
def test_a_gpu_gives_the_same(composition, generator):
    encoder = AugmentationEncoder(composition=composition, num_operators=9)
    encoder.bind(ImgDataPreprocessor(MEAN, STD, bgr_to_rgb=True))
    images = torch.randn(4, 3, 18, 24, generator=generator)
    # Equalize is a step function: a rounding apart is a step apart.
    smooth = [name for name in OPERATORS if name != 'Equalize']
    draw = encoder.draw(SIZES.float(), generator, operators=smooth)
    expected = encoder.augment(images, encoder.resolve(draw, None, 1.0))
    there = AugmentDraw(
        **{name: getattr(draw, name).cuda() for name in draw._names()}
    )
    encoder.cuda()
    record = encoder.resolve(there, None, 1.0)
    result = encoder.augment(images.cuda(), record).cpu()
    torch.testing.assert_close(result, expected, rtol=1e-3, atol=1e-3)
