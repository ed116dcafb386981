"""Test what a draw becomes under a policy against the formulas."""

from __future__ import annotations

from dataclasses import replace

import torch

from mmtst.augmentation import AugmentationEncoder, Policy

SIZES = torch.tensor([[24.0, 32.0], [20.0, 32.0], [24.0, 17.0]])


def test_resolve_follows_the_formulas_of_the_presets(generator):
    policy = Policy(torch.randn(14), torch.randn(11))
    for preset, tau in (('default', None), ('paper', 0.3), ('official', 1)):
        encoder = AugmentationEncoder(preset=preset)
        draw = encoder.draw(SIZES, generator)
        record = encoder.resolve(draw, policy, tau)
        tau = 0.05 if tau is None else tau
        p, m = policy.probabilities, policy.magnitudes
        location = {
            'default': torch.log(p / (1 - p)),
            'paper': torch.log(p),
            'official': p,
        }[preset]
        gates = 1 / (1 + torch.exp(-(location + draw.gate_noise) / tau))
        torch.testing.assert_close(
            record.gates, gates * draw.selected, rtol=1e-3, atol=1e-6
        )
        if preset == 'paper':
            m = torch.sigmoid((m.log() + draw.magnitude_noise) / tau)
        expected = m.expand(3, 11)
        torch.testing.assert_close(
            record.magnitudes, expected, rtol=1e-3, atol=1e-6
        )
        if preset == 'default':
            assert record.apply_gates.eq(1).all()
        else:
            logit = torch.log(torch.tensor(0.98 / 0.02))
            gates = torch.sigmoid((logit + draw.apply_noise) / tau)
            torch.testing.assert_close(record.apply_gates, gates)


def test_gates_too_low_to_be_seen_are_shut_but_in_a_search(generator):
    """exp(-15) = 3e-7 is more than half a float32's rounding of 1."""
    encoder = AugmentationEncoder(num_operators=14)
    draw = encoder.draw(SIZES, generator)
    noise = draw.gate_noise.new_tensor([[-15.0], [-18.0], [-40.0]])
    draw = replace(draw, gate_noise=(0.05 * noise).expand(3, 14))

    def opened(policy):
        gates = encoder.resolve(draw, policy).gates
        return [row.gt(0).unique().tolist() for row in gates]

    policy = Policy(torch.zeros(14), torch.zeros(11))
    assert opened(policy) == [[True], [False], [False]]
    double = Policy(policy.th_p.double(), policy.th_m.double())
    assert opened(double) == [[True], [True], [False]]
    searched = policy.leaf()
    assert opened(searched) == [[True], [True], [True]]
    encoder.resolve(draw, searched).gates[1:].sum().backward()
    assert searched.th_p.grad.gt(0).all()


def test_shrink_moves_the_matrix_toward_the_identity(generator):
    encoder = AugmentationEncoder(num_operators=14)
    draw = encoder.draw(SIZES, generator)
    none = encoder.resolve(draw.with_shrink(torch.zeros(3)))
    identity = torch.eye(2, 3).expand(3, 2, 3)
    assert none.matrix.equal(identity)
    little = encoder.resolve(draw.with_shrink(torch.full((3,), 0.1)))
    full = encoder.resolve(draw)
    moved = (little.matrix - identity).flatten(1).norm(dim=1)
    assert bool((moved > 0).all())
    assert bool(
        (moved < (full.matrix - identity).flatten(1).norm(dim=1)).all()
    )
    assert none.gates.equal(full.gates)


def test_matrix_is_the_sum_of_the_open_operators(generator):
    """Eq. 6 on a square: rotation and translation, both fully open."""
    encoder = AugmentationEncoder(num_operators=2)
    sizes = torch.tensor([[40.0, 40.0]])
    names = ['Rotate', 'TranslateX']
    draw = encoder.draw(sizes, generator, operators=names)
    draw = replace(draw, gate_noise=torch.full((1, 14), 1e4))
    th_m = torch.full((11,), 100.0)
    record = encoder.resolve(draw, Policy(torch.zeros(14), th_m))
    # Output -> input about the center, in pixels: 30 degrees, and content
    # moves right by 150/331 of 40.
    angle = torch.tensor(torch.pi / 6)
    turn = torch.stack(
        [
            torch.stack([angle.cos(), -angle.sin()]),
            torch.stack([angle.sin(), angle.cos()]),
        ]
    )
    center = torch.tensor([20.0, 20.0])
    source = torch.tensor([3.0, 5.0])
    shift = torch.tensor([-150 / 331 * 40, 0.0])
    target = torch.linalg.solve(turn, source - center - shift) + center
    moved = record.matrix[0, :, :2] @ source + record.matrix[0, :, 2]
    torch.testing.assert_close(moved, target, rtol=1e-4, atol=1e-3)
