from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mmtst.augmentation.color_encoder import (
    ColorEncoder,
    QuadraticColorEncoder,
    ScaleShiftColorEncoder,
    center_tap,
)


def randomized(encoder: ColorEncoder) -> ColorEncoder:
    torch.manual_seed(0)
    for buffer in encoder.buffers():
        buffer.copy_(0.3 * torch.randn_like(buffer))
    return encoder.double()


def run(kernel: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return f(x) from the kernel of the difference, nothing but valid."""
    inputs = torch.cat([x - 0.5, torch.ones_like(x[:, :1])], dim=1)
    return x + F.conv2d(inputs, kernel, padding=2)


@pytest.fixture
def x(generator) -> torch.Tensor:
    return torch.rand(1, 3, 8, 9, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(
    'encoder',
    [
        randomized(QuadraticColorEncoder()),
        randomized(ScaleShiftColorEncoder()),
    ],
    ids=['quadratic', 'scale-shift'],
)
class TestEveryEncoder:
    def test_has_buffers_and_no_parameters(self, encoder):
        assert not list(encoder.parameters())
        assert (
            set(encoder.state_dict()) == dict(encoder.named_buffers()).keys()
        )

    @pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
    def test_shape_and_dtype(self, encoder, dtype):
        kernel = encoder(torch.rand(4, dtype=dtype))
        assert kernel.shape == (4, 3, 4, 5, 5)
        assert kernel.dtype == dtype

    def test_gradient_in_magnitude_and_gate(self, encoder):
        m = torch.tensor([0.2, 0.7], dtype=torch.float64, requires_grad=True)
        gate = torch.tensor([0.9, 0.4], dtype=torch.float64)
        gate.requires_grad_()
        assert torch.autograd.gradcheck(
            lambda a, b: encoder(a, None, b), (m, gate)
        )
        slopes = torch.autograd.grad(
            encoder(m, None, gate).square().sum(), (m, gate)
        )
        assert min(slope.abs().min() for slope in slopes) > 1e-4

    def test_noise_moves_the_kernel(self, encoder):
        m = torch.rand(3).double()
        noise = 0.1 * torch.randn(3, 10).double()
        assert encoder(m, torch.zeros(3, 10)).equal(encoder(m))
        assert not encoder(m, noise).allclose(encoder(m))


@pytest.mark.parametrize('m', [0.0, 0.3, 1.0, -0.6])
@pytest.mark.parametrize('gate', [1.0, 0.4])
def test_quadratic_is_the_documented_polynomial(m, gate, x):
    encoder = randomized(QuadraticColorEncoder())
    first, second = encoder.coefficients[0 if m >= 0 else 1]
    layer = gate * (abs(m) * first + m * m * second)
    taps = layer[:, :75].reshape(3, 3, 5, 5)
    expected = x + F.conv2d(x - 0.5, taps, layer[:, 75], padding=2)
    kernel = encoder(
        torch.tensor([m]).double(), None, torch.tensor([gate]).double()
    )
    torch.testing.assert_close(run(kernel[0], x), expected)
    if m == 0:
        assert kernel.eq(0).all()


@pytest.mark.parametrize('gate', [1.0, 0.4, 0.0])
@pytest.mark.parametrize('noise', [None, 0.2])
def test_scale_shift_is_the_papers_formula(gate, noise, x):
    encoder = randomized(ScaleShiftColorEncoder())
    encoder.gain.fill_(2.35)
    m = torch.tensor([0.7]).double()
    feature = encoder.feature + (0 if noise is None else noise)
    theta = encoder.weight @ torch.cat([feature, m])
    scale = 2.35 * (torch.sigmoid(theta[0]) - 0.5) + 1
    shift = torch.sigmoid(theta[1]) - 0.5
    scale, shift = (1 - gate) + gate * scale, gate * shift
    # The convolution acts on a closed gate too, and pads with zeros.
    expected = F.conv2d(x * scale + shift, encoder.convolution, padding=2)
    kernel = encoder(
        m,
        None if noise is None else torch.full((1, 10), noise).double(),
        torch.tensor([gate]).double(),
    )
    torch.testing.assert_close(run(kernel[0], x), expected)


def test_gain_of_one_is_the_paper(x):
    """f(x) = C(x (0.5 + sigmoid(u)) + sigmoid(w) - 0.5)."""
    encoder = randomized(ScaleShiftColorEncoder())
    encoder.gain.fill_(1)
    m = torch.tensor([0.25]).double()
    u, w = torch.sigmoid(encoder.weight @ torch.cat([encoder.feature, m]))
    inner = x * (0.5 + u) + w - 0.5
    expected = F.conv2d(inner, encoder.convolution, padding=2)
    torch.testing.assert_close(run(encoder(m)[0], x), expected)


def test_center_tap_copies(x):
    kernel = center_tap(x).view(1, 1, 5, 5)
    assert F.conv2d(x[:, :1], kernel, padding=2).equal(x[:, :1])


def test_base_says_nothing_by_itself():
    with pytest.raises(NotImplementedError):
        ColorEncoder()(torch.zeros(1))
