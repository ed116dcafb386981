from __future__ import annotations

import pytest
import torch

from mmtst.augmentation.affine_encoder import (
    AffineEncoder,
    BasisAffineEncoder,
    ConcatAffineEncoder,
)


def random_basis(operator: str) -> BasisAffineEncoder:
    encoder = BasisAffineEncoder(operator)
    torch.manual_seed(0)
    encoder.coefficients.copy_(torch.randn_like(encoder.coefficients))
    return encoder


def random_concat() -> ConcatAffineEncoder:
    encoder = ConcatAffineEncoder()
    torch.manual_seed(0)
    for buffer in encoder.buffers():
        buffer.copy_(torch.randn_like(buffer))
    return encoder


@pytest.mark.parametrize(
    'encoder',
    [random_basis('Rotate'), random_basis('ShearX'), random_concat()],
    ids=['turning', 'linear', 'concat'],
)
class TestEveryEncoder:
    def test_has_buffers_and_no_parameters(self, encoder):
        assert not list(encoder.parameters())
        assert (
            set(encoder.state_dict()) == dict(encoder.named_buffers()).keys()
        )

    @pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
    def test_shape_and_dtype(self, encoder, dtype):
        theta = encoder(torch.rand(4, dtype=dtype))
        assert theta.shape == (4, 2, 3)
        assert theta.dtype == dtype

    def test_gradient_in_the_magnitude(self, encoder):
        m = torch.tensor([0.2, 0.7], dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(encoder, m)
        (slope,) = torch.autograd.grad(encoder(m).sum(), m)
        assert slope.abs().min() > 1e-3

    def test_noise_moves_the_matrix(self, encoder):
        m = torch.rand(3)
        noise = 0.1 * torch.randn(3, 10)
        assert encoder(m, torch.zeros(3, 10)).equal(encoder(m))
        assert not encoder(m, noise).allclose(encoder(m))


@pytest.mark.parametrize('operator', ['Rotate', 'TranslateY'])
def test_basis_is_the_documented_one_and_the_identity_at_zero(operator):
    encoder = random_basis(operator)
    assert encoder(torch.zeros(1))[0].equal(torch.eye(2, 3))
    m = torch.tensor(0.6)
    features = [m]
    if operator == 'Rotate':
        angle = torch.deg2rad(30 * m)
        features += [angle.sin(), angle.cos() - 1]
    change = encoder.coefficients @ torch.stack(features)
    expected = torch.eye(2, 3) + change.view(2, 3)
    torch.testing.assert_close(encoder(m[None])[0], expected)
    # Noise is added to m.
    noisy = encoder(m[None] - 0.25, torch.full((1, 10), 0.25))
    torch.testing.assert_close(noisy[0], expected)


def test_concat_is_a_layer_on_feature_and_magnitude():
    encoder = random_concat()
    m, noise = 0.4, torch.randn(10)
    inputs = torch.cat([encoder.feature, torch.tensor([m])])
    expected = (encoder.weight @ inputs + encoder.bias).view(2, 3)
    torch.testing.assert_close(encoder(torch.tensor([m]))[0], expected)
    expected = (encoder.weight @ (inputs + noise[:7]) + encoder.bias).view(
        2, 3
    )
    noisy = encoder(torch.tensor([m]), noise[None])
    torch.testing.assert_close(noisy[0], expected)


def test_base_says_nothing_by_itself():
    with pytest.raises(NotImplementedError):
        AffineEncoder()(torch.zeros(1))
